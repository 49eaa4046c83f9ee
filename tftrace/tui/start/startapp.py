"""The start screen: learn, demos, what was opened lately, record, compare. It imports nothing that reads a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ...language import LANGUAGES, speak, spoken, tr
from ...learn.lesson_titles import LessonTitle
from ...text import visible
from ..dialogs.linelist import LineList
from ..dialogs.prompt import Prompt, Question
from ..paint.palette import DARK, PALETTES, style
from ..screened import ScreenedApp
from .recent_traces import RecentTrace
from .start_rows import StartRow, compare_words, lesson_rows, record_words, start_rows

_LABEL = 26  # columns of a row's label


class StartApp(ScreenedApp[list[str]]):
    """Where to begin; it returns the words of the command that was chosen, or None.

    Args:
        lessons: the lessons, with progress.
        recent: the traces that were opened lately.
        theme: the name of the palette.
    """

    TITLE = "tftrace"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    StartApp Screen { align: center middle; background: $background; }
    #start { width: 112; max-width: 96%; height: auto; max-height: 100%; border: round $frame; padding: 0 2;
             border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint; }
    #about { height: auto; margin: 0 0 1 0; }
    #rows { max-height: 100%; border: none; }
    Prompt { dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+q,ctrl+c", "leave", show=False),
        Binding("escape,backspace,left", "to_start", show=False),
        Binding("question_mark,f1", "say_help", show=False),
        Binding("L", "language", show=False),
    ]

    def __init__(self, lessons: Sequence[LessonTitle], recent: Sequence[RecentTrace], theme: str = DARK.name) -> None:
        super().__init__()
        self._lessons, self._recent = lessons, recent
        self._rows: list[StartRow] = []
        self._listing = False
        for palette in PALETTES.values():
            self.register_theme(palette.theme())
        self.theme = theme

    def compose(self) -> ComposeResult:
        with Vertical(id="start"):
            yield Static(id="about", markup=False)
            yield LineList(id="rows")
        yield Prompt()

    def on_mount(self) -> None:
        self.call_after_refresh(self.list_rows)

    def on_resize(self) -> None:
        self.call_after_refresh(self.list_rows)

    # -- drawing ---------------------------------------------------------------------------------------------

    def list_rows(self) -> None:
        """List where to begin, or the lessons."""
        palette = PALETTES.get(self.theme, DARK)
        self._rows = lesson_rows(self._lessons) if self._listing else start_rows(self._lessons, self._recent)
        box, rows = self.query_one("#start", Vertical), self.query_one("#rows", LineList)
        box.border_title = tr("Lessons") if self._listing else "tftrace"
        keys = tr("Esc back") if self._listing else tr("q quit")
        box.border_subtitle = Text(tr("↑↓ or click · Enter opens · L 中文 · {keys}", keys=keys))
        about = tr("Watch a transformer think: every line that ran, beside it the paper's equation, checked.")
        self.query_one("#about", Static).update(Text(about, style(palette.soft)))
        wide = max((cell_len(row.label) for row in self._rows if not row.heading), default=_LABEL)
        label = min(max(_LABEL, wide), 44)
        chosen = rows.highlighted
        rows.clear_options()
        rows.add_options(
            [Option(self._line(row, label, at), disabled=row.heading) for at, row in enumerate(self._rows)]
        )
        first = next((at for at, row in enumerate(self._rows) if not row.heading), 0)
        rows.highlighted = chosen if chosen is not None and chosen < len(self._rows) else first
        self.screen.set_focus(rows)

    def _line(self, row: StartRow, label: int, at: int) -> Text:
        palette = PALETTES.get(self.theme, DARK)
        if row.heading:
            above = "\n" if at else ""
            return Text(f"{above}{row.label}", style(palette.accent, bold=True), no_wrap=True)
        line = Text(f" {row.key or ' '} ", style(palette.warm, bold=True), no_wrap=True, overflow="ellipsis")
        said = visible(row.label)
        line.append(f" {said}{' ' * max(0, label - cell_len(said))}", style(palette.text, bold=True))
        return line.append(f"  {visible(row.detail)}", style(palette.soft))

    # -- keys ------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Send every key to the prompt while it is open, and the keys of rows to their rows."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded and self.screen_stack:
            prompt = self.screen.query_one(Prompt)
            if prompt.is_open:
                prompt.key(event)
                return None
            if isinstance(event, events.Key) and not self._listing and event.character:
                row = next((row for row in self._rows if row.key and row.key == event.character), None)
                if row is not None:
                    return self._choose(row)
        return await super().on_event(event)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(self._rows[event.option_index])

    def _choose(self, row: StartRow) -> None:
        if row.ask == "lessons":
            self._listing = True
            self.query_one("#rows", LineList).highlighted = None
            self.list_rows()
        elif row.ask == "record":
            self._ask(tr("record: "), tr("a model and a text, such as: bert-base-uncased the cat sat"), record_words)
        elif row.ask == "compare":
            known = " ".join(f"'{one.path}'" for one in self._recent[:2]) if len(self._recent) > 1 else ""
            self._ask(tr("compare: "), tr("two traces, such as: one.tftrace two.tftrace"), compare_words, known)
        elif row.words:
            self.exit([*row.words])

    def _ask(self, sign: str, hint: str, words: Callable[[str], list[str]], text: str = "") -> None:
        def done(typed: str) -> str:
            if not typed.strip():
                return ""
            try:
                self.exit(words(typed))
            except ValueError as error:
                return str(error)
            return ""

        self.query_one(Prompt).open(Question(sign, hint, done), text)

    def action_leave(self) -> None:
        self.exit(None)

    def action_to_start(self) -> None:
        """From the lessons back to the start."""
        if self._listing:
            self._listing = False
            self.query_one("#rows", LineList).highlighted = None
            self.list_rows()

    def action_language(self) -> None:
        speak(LANGUAGES[(LANGUAGES.index(spoken()) + 1) % len(LANGUAGES)])
        self.list_rows()

    def action_say_help(self) -> None:
        self.notify(tr("Choose a row with ↑ ↓ and Enter, by its key, or with the mouse; q leaves."), markup=False)
