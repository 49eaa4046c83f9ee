"""What may lie over the panes: the help, and the sentence for a terminal that is too small."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from .keymap import KEYMAP, SIGNS
from .palette import DARK, PALETTES, style

SMALLEST = (80, 24)


class HelpScreen(ModalScreen[None]):
    """The keymap as a table; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+q,ctrl+c,question_mark,f1,enter,space", "dismiss", show=False)
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > VerticalScroll {
        width: 88; max-width: 100%; height: auto; max-height: 100%; padding: 0 3;
        border: round $accent; border-title-color: $accent; border-title-style: bold; background: $background;
        border-subtitle-color: $faint; scrollbar-size: 1 1;
    }
    """

    def compose(self) -> ComposeResult:
        palette = PALETTES.get(self.app.theme, DARK)
        table = Table.grid(padding=(0, 3))
        table.add_column(min_width=9, no_wrap=True)
        table.add_column()
        for at, (group, keys) in enumerate(KEYMAP.items()):
            table.add_row(Text(("\n" if at else "") + group, style(palette.accent, bold=True)), "")
            for key in keys:
                table.add_row(Text(key.shown, style(palette.warm, bold=True)), Text(key.help, style(palette.text)))
        table.add_row(Text("\nSigns", style(palette.accent, bold=True)), "")
        for sign, meaning in SIGNS.items():
            table.add_row(Text(sign, style(palette.warm, bold=True)), Text(meaning, style(palette.text)))
        with VerticalScroll() as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Static(table)


class TooSmall(Static):
    """Says which size is needed and which there is; the panes come back by themselves."""

    DEFAULT_CSS = "TooSmall { display: none; width: 1fr; height: 1fr; content-align: center middle; color: $warm; }"

    def __init__(self) -> None:
        super().__init__(id="small", markup=False)

    def tell(self, width: int, height: int) -> None:
        """The size that there is."""
        self.update(
            f"tftrace needs a terminal of {SMALLEST[0]}×{SMALLEST[1]}; this one has {width}×{height}: enlarge it."
        )
