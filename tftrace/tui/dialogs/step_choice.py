"""A dialog to choose one of several steps."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ... import describe
from ...language import tr
from ...language.retell import retold
from ...trace.trace import Trace
from ..paint.palette import DARK, PALETTES, style
from .linelist import LineList

_MOST = 500  # steps listed at most


class StepChoice(ModalScreen[int | None]):
    """A list of steps; dismissed with the chosen position, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,backspace", "dismiss", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    StepChoice { align: center middle; background: $background 60%; }
    StepChoice > LineList, StepChoice > LineList:focus {
        width: 90; max-width: 96%; max-height: 80%; border: round $accent;
        border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint;
    }
    """

    def __init__(self, trace: Trace, title: str, positions: list[int]) -> None:
        super().__init__()
        self._trace, self._title, self._positions = trace, title, positions[:_MOST]

    def compose(self) -> ComposeResult:
        palette = PALETTES.get(self.app.theme, DARK)
        options = []
        for position in self._positions:
            row = describe.row(self._trace, position)
            line = Text(f"{position:>7}  ", style(palette.faint), no_wrap=True, overflow="ellipsis")
            line.append(row.label, style(palette.text, bold=True))
            line.append(f"  {row.detail}  {row.place}", style(palette.soft))
            options.append(Option(line))
        choices = LineList(*options)
        choices.border_title = Text(retold(self._title))
        choices.border_subtitle = tr("↑↓ Enter · Esc leaves")
        yield choices

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._positions[event.option_index])
