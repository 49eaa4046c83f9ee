"""A dialog to choose what is changed in a step, and into what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ...edits import Edit, mean, noise, scale, zero
from ...language import later, tr
from ..paint.palette import DARK, PALETTES, style
from .linelist import LineList

SWEEPS = ("heads", "layers", "mlps", "tokens")
TYPED = "typed"
_CHANGES = (
    (later("zero"), zero),
    (later("the mean over the tokens"), mean),
    (later("half as much"), lambda **part: scale(0.5, **part)),
    (later("twice as much"), lambda **part: scale(2.0, **part)),
    (later("with noise, deviation 0.1"), lambda **part: noise(0.1, **part)),
)
_SWEPT = {
    "heads": later("sweep: every head in turn to zero"),
    "layers": later("sweep: every layer left out in turn"),
    "mlps": later("sweep: every feed-forward part in turn to zero"),
    "tokens": later("sweep: every token of this step in turn to zero"),
}


@dataclass(frozen=True)
class Target:
    """A part of what a step returns that may be changed: what it is called, and the arguments of an edit."""

    label: str
    part: dict[str, Any]


@dataclass
class EditAsked(Message):
    """A screen asks what is to be changed at a step; the first of the targets is proposed."""

    position: int
    targets: Sequence[Target]


class EditChoice(ModalScreen[Edit | str | None]):
    """What it becomes, a line each; Tab chooses what. Dismissed with the edit, the name of a sweep, `TYPED`, or None.

    Args:
        title: The step.
        targets: The parts that may be changed, the likeliest first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,backspace,exclamation_mark", "dismiss", show=False, priority=True),
        Binding("tab", "target(1)", show=False, priority=True),
        Binding("shift+tab", "target(-1)", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    EditChoice { align: center middle; background: $background 60%; }
    EditChoice > LineList, EditChoice > LineList:focus {
        width: 76; max-width: 96%; max-height: 80%; border: round $accent;
        border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint;
    }
    """

    def __init__(self, title: str, targets: Sequence[Target]) -> None:
        super().__init__()
        self._title, self._targets, self._at = title, list(targets), 0

    def compose(self) -> ComposeResult:
        palette = PALETTES.get(self.app.theme, DARK)
        lines = [(tr("becomes"), tr(said)) for said, _ in _CHANGES]
        lines += [("", tr("something else: type it"))]
        lines += [("", tr(_SWEPT[name])) for name in SWEEPS]
        options = []
        for before, said in lines:
            line = Text(" " + set_cell_size(before, 9), style(palette.soft), no_wrap=True, overflow="ellipsis")
            options.append(Option(line.append(said, style(palette.text, bold=bool(before)))))
        choices = LineList(*options)
        choices.border_subtitle = Text(tr("↑↓ Enter · Tab another part · Esc leaves"))
        yield choices

    def on_mount(self) -> None:
        self.action_target(0)

    @property
    def part(self) -> dict[str, Any]:
        """The arguments that choose the part."""
        return self._targets[self._at].part

    @property
    def title_text(self) -> str:
        """The part of what a step returns, and the step."""
        return f"{self._targets[self._at].label} · {self._title}"

    def action_target(self, by: int) -> None:
        """Choose another part."""
        self._at = (self._at + by) % len(self._targets)
        self.query_one(LineList).border_title = Text(self.title_text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        at = event.option_index
        if at < len(_CHANGES):
            self.dismiss(_CHANGES[at][1](**self.part))
        else:
            self.dismiss([TYPED, *SWEEPS][at - len(_CHANGES)])
