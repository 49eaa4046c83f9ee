"""Overlays: the help, and the message for a terminal that is too small."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from ...language import tr
from ...language.retell import retold
from ..keymap import KEYMAP, SIGNS, Key
from ..paint.palette import DARK, PALETTES, style

SMALLEST = (80, 24)
_TWO_COLUMNS = 150  # from this width in columns, the help has two columns
Section = tuple[str, list[tuple[str, str]]]


class HelpScreen(ModalScreen[None]):
    """The keymap as a table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+q,ctrl+c,question_mark,f1,enter,space", "dismiss", show=False)
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > VerticalScroll {
        width: 92; max-width: 100%; height: auto; max-height: 100%; padding: 0 3;
        border: round $accent; border-title-color: $accent; border-title-style: bold; background: $background;
        border-subtitle-color: $faint; scrollbar-size: 1 1;
    }
    HelpScreen > VerticalScroll.wide { width: 158; }
    HelpScreen Horizontal { height: auto; }
    HelpScreen Static { width: 1fr; height: auto; }
    """

    def __init__(self, keymap: dict[str, tuple[Key, ...]] = KEYMAP, signs: dict[str, str] = SIGNS) -> None:
        super().__init__()
        self._keymap, self._signs = keymap, signs

    def compose(self) -> ComposeResult:
        sections = [(tr(group), [(key.shown, tr(key.help)) for key in keys]) for group, keys in self._keymap.items()]
        sections.append((tr("Signs"), [(sign, retold(said)) for sign, said in self._signs.items()]))
        wide = self.app.size.width >= _TWO_COLUMNS
        with VerticalScroll(classes="wide" if wide else "") as box:
            box.border_title = tr("Keys")
            box.border_subtitle = tr("Esc closes · Ctrl+P finds a command by its words")
            with Horizontal():
                for part in _halves(sections) if wide else [sections]:
                    yield Static(self._table(part))

    def _table(self, sections: list[Section]) -> Table:
        palette = PALETTES.get(self.app.theme, DARK)
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=9, no_wrap=True)
        table.add_column()
        for at, (title, rows) in enumerate(sections):
            table.add_row(Text(("\n" if at else "") + title, style(palette.accent, bold=True)), "")
            for shown, text in rows:
                table.add_row(Text(shown, style(palette.warm, bold=True)), Text(text, style(palette.text)))
        return table


def _halves(sections: list[Section]) -> tuple[list[Section], list[Section]]:
    """The sections split into two columns of about the same height."""
    sizes = [len(rows) + 2 for _, rows in sections]
    cut = min(range(1, len(sections)), key=lambda at: abs(sum(sizes[:at]) - sum(sizes[at:])))
    return sections[:cut], sections[cut:]


class TooSmall(Static):
    """A message that replaces the panes while the terminal is too small."""

    DEFAULT_CSS = "TooSmall { display: none; width: 1fr; height: 1fr; content-align: center middle; color: $warm; }"

    def __init__(self) -> None:
        super().__init__(id="small", markup=False)

    def show_size(self, width: int, height: int) -> None:
        """Show the needed size and the current one."""
        self.update(
            tr(
                "tftrace needs a terminal of {least}; this one has {size}: enlarge it.",
                least="×".join(map(str, SMALLEST)),
                size=f"{width}×{height}",
            )
        )
