"""A dialog to choose what is shared, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ...language import tr
from ...language.retell import retold
from ..paint.palette import DARK, PALETTES, style
from .linelist import LineList


@dataclass(frozen=True)
class Share:
    """Something that can be shared.

    Attributes:
        what: What it is, for the user.
        name: The name of its file, without ending.
        ways: How it is drawn: `svg`, of which a PNG is made too, and `html`.
        now: Whether it is drawn from what the screen shows, which only the screen's own thread may look at.
    """

    what: str
    name: str
    ways: Mapping[str, Callable[[], str]]
    now: bool = False

    @property
    def endings(self) -> list[str]:
        """The kinds of files that it can be written as."""
        return [ending for ending in ("svg", "png", "html") if ending in self.ways or ending == "png"]

    def drawn(self, ending: str) -> str:
        """Draw it; for a PNG, the SVG that it is made of."""
        return self.ways["svg" if ending == "png" else ending]()


class ShareChoice(ModalScreen[tuple[Share, str] | None]):
    """A line for each thing and each kind of file; dismissed with both, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,backspace,P", "dismiss", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    ShareChoice { align: center middle; background: $background 60%; }
    ShareChoice > LineList, ShareChoice > LineList:focus {
        width: 74; max-width: 96%; max-height: 80%; border: round $accent;
        border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint;
    }
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        super().__init__()
        self._choices = [(one, ending) for one in shares for ending in one.endings]

    def compose(self) -> ComposeResult:
        palette = PALETTES.get(self.app.theme, DARK)
        options = []
        for one, ending in self._choices:
            line = Text(
                " " + set_cell_size(retold(one.what), 24),
                style(palette.text, bold=True),
                no_wrap=True,
                overflow="ellipsis",
            )
            line.append(f"{ending.upper():<6}", style(palette.warm))
            options.append(Option(line.append(f"{one.name}.{ending}", style(palette.soft))))
        choices = LineList(*options)
        choices.border_title = Text(tr("Share: written into the current folder"))
        choices.border_subtitle = Text(tr("↑↓ Enter · Esc leaves"))
        yield choices

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index])
