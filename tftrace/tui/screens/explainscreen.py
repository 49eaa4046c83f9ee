"""The derivation of a cell: the terms of its equation, largest first, each a link to the step it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ... import describe
from ...errors import TraceError
from ...language import tr
from ...language.retell import retold
from ..dialogs.linelist import LineList
from ..paint.palette import DARK, PALETTES, style


class ExplainScreen(ModalScreen[int | None]):
    """The derivation that `work` computes in a thread; dismissed with the step of the chosen term, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,x,ctrl+c,backspace", "dismiss", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    ExplainScreen { align: center middle; background: $background 60%; }
    ExplainScreen > Vertical {
        width: 130; max-width: 98%; height: auto; max-height: 94%; border: round $accent; background: $background;
        border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint; padding: 0 1;
    }
    ExplainScreen LineList, ExplainScreen LineList:focus { max-height: 30; border: none; }
    ExplainScreen Static { height: auto; }
    """

    @dataclass
    class Derived(Message):
        """The derivation is ready, or a sentence why there is none."""

        found: describe.Derivation | str

    def __init__(self, title: str, work: Callable[[], describe.Derivation]) -> None:
        super().__init__()
        self._title, self._work = title, work
        self._steps: list[int | None] = []

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Text(retold(self._title))
            box.border_subtitle = tr("↑↓ Enter: to where the term came from · Esc leaves")
            yield Static(tr("Deriving … what was not kept is computed again."), id="head", markup=False)
            yield LineList()
            yield Static(id="foot", markup=False)

    def on_mount(self) -> None:
        self.run_worker(self._derive, thread=True, exit_on_error=False)

    def _derive(self) -> None:
        try:
            self.post_message(self.Derived(self._work()))
        except TraceError as error:
            self.post_message(self.Derived(str(error)))

    def on_explain_screen_derived(self, event: Derived) -> None:
        palette, found = PALETTES.get(self.app.theme, DARK), event.found
        head, foot = self.query_one("#head", Static), self.query_one("#foot", Static)
        if isinstance(found, str):
            head.update(Text(found, style(palette.warm)))
            return
        out = Text(found.title, style(palette.soft, bold=True))
        out.append("".join(f"\n  {line}" for line in map(retold, found.formula)), style(palette.text, bold=True))
        out.append(f"\n{retold(found.value)}", style(palette.warm, bold=True))
        out.append(f"  {retold(found.how)}\n", style(palette.faint))
        head.update(out)
        self._steps = [term.step for term in found.terms]
        options = []
        widest = max((cell_len(term.token) for term in found.terms), default=0)
        for term in found.terms:
            line = Text(f"{term.value:>12}  ", style(palette.text, bold=True), no_wrap=True, overflow="ellipsis")
            line.append(f"{term.bar:<8} ", style(palette.accent))
            line.append(f"{term.token:<{widest}}  " if found.tokens else "", style(palette.warm, bold=True))
            line.append(term.product, style(palette.text))
            line.append(f"  {retold(term.origin)}", style(palette.faint))
            options.append(Option(line))
        terms = self.query_one(LineList)
        terms.add_options(options)
        terms.highlighted = 0
        terms.focus()
        judged = palette.good if found.matches else palette.bad
        foot.update(Text(f"\n{retold(found.sum)}", style(judged, bold=True)))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if (step := self._steps[event.option_index]) is not None:
            self.dismiss(step)
