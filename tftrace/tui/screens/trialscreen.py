"""What became of the answer when something was changed: over the screen, until it is taken back or stepped through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from ...language import tr
from ...what_if import Effects, Trial
from ..paint.effect_lines import effect_lines, trial_lines

_WIDTH = 100


class TrialScreen(ModalScreen[bool]):
    """The answer before and after, or the effects of a sweep; dismissed with whether to step through both runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "both", show=False, priority=True),
        Binding("escape,q,ctrl+c,backspace,exclamation_mark", "back", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    TrialScreen { align: center middle; background: $background 60%; }
    TrialScreen > VerticalScroll {
        width: 104; max-width: 100%; height: auto; max-height: 90%; padding: 0 1; border: round $accent;
        border-title-color: $accent; border-title-style: bold; border-subtitle-color: $faint; background: $background;
    }
    TrialScreen Static { height: auto; }
    """

    def __init__(self, found: Trial | Effects) -> None:
        super().__init__()
        self._found = found

    def compose(self) -> ComposeResult:
        width = min(_WIDTH, self.app.size.width - 6)
        one = isinstance(self._found, Trial)
        lines = trial_lines(self._found) if isinstance(self._found, Trial) else effect_lines(self._found, width)
        with VerticalScroll() as box:
            box.border_title = Text(tr("What if"))
            box.border_subtitle = Text(tr("Enter steps through both · Esc takes it back") if one else tr("Esc closes"))
            yield Static(_text(lines), markup=False)

    def action_both(self) -> None:
        """Step through both runs, if there are two."""
        self.dismiss(isinstance(self._found, Trial))

    def action_back(self) -> None:
        """Take the edit back."""
        self.dismiss(False)


def _text(lines: Iterable[list[tuple[str, str]]]) -> Text:
    return Text("\n").join(Text.assemble(*line) for line in lines)
