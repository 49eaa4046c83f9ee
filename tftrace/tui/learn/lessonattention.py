"""The attention maps inside a lesson, with the question below them, so that it can be answered there."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from ...trace.trace import Trace
from ..dialogs.prompt import Prompt
from ..screens.attentionscreen import AttentionScreen


class LessonAttentionScreen(AttentionScreen):
    """Attention maps with a line for the question, and a prompt for the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("A", "app.answer", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    LessonAttentionScreen #asked { height: auto; max-height: 3; padding: 0 1; background: $panel; }
    LessonAttentionScreen.asking #asked { display: none; }
    """

    def __init__(self, trace: Trace, position: int, asked: Text) -> None:
        super().__init__(trace, position)
        self._asked = asked

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Static(self._asked, id="asked", markup=False)
        yield Prompt()

    def tell(self, asked: Text) -> None:
        """Show another text in the line of the question."""
        self.query_one("#asked", Static).update(asked)
