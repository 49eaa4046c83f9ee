"""The one way from this package to a screen of Textual: every line that any widget draws is looked at as it leaves.

What a pane says has been made visible where it is made (`describe`), since it is laid out by its width; what was
forgotten there is taken out here, so that no trace moves the cursor, sets the terminal's title or turns a line around.
Every app derives from `ScreenedApp`; `tests/commands/test_terminal.py` sees to that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

from rich.cells import cell_len
from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.command import CommandPalette
from textual.filter import LineFilter

from ..language import tr
from ..text import visible

Result = TypeVar("Result")


class _Screen(LineFilter):
    """Takes out of a line what a terminal would obey."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """A line of the same width; what Textual itself sends stays."""
        return [one if one.control or one.text.isprintable() else _harmless(one) for one in segments]


def _harmless(segment: Segment) -> Segment:
    said = ("�" * cell_len(char) if visible(char) != char else char for char in segment.text)
    return Segment("".join(said), segment.style)


_SCREEN = _Screen()


class ScreenedApp(App[Result], Generic[Result]):
    """An app of which nothing reaches the terminal but what can be seen."""

    def action_command_palette(self) -> None:
        """Open the palette, which asks in the language spoken."""
        if not CommandPalette.is_open(cast(App[object], self)):
            self.push_screen(CommandPalette(placeholder=tr("Search for commands…"), id="--command-palette"))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and ours after them."""
        return [*super().get_line_filters(), _SCREEN]
