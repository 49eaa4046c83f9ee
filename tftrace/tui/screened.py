"""The one way from this package to a screen of Textual: every line that any widget draws is looked at as it leaves.

What a pane says has been made visible where it is made (`describe`), since it is laid out by its width; what was
forgotten there is taken out here, so that no trace moves the cursor, sets the terminal's title or turns a line around.
Every app derives from `ScreenedApp`; `tests/commands/test_terminal.py` sees to that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from rich.cells import cell_len
from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.command import CommandPalette
from textual.filter import LineFilter
from textual.worker import WorkerFailed

from ..errors import TraceError
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
    """An app of which nothing reaches the terminal but what can be seen, and which ends in one sentence if it fails."""

    _broken: Exception | None = None  # what ended it

    def run(self, *arguments: Any, **options: Any) -> Result | None:
        """Run until the user leaves.

        Raises:
            TraceError: What was to be shown is damaged, or the screen has a mistake.
        """
        found = super().run(*arguments, **options)
        if isinstance(self._broken, TraceError):
            raise self._broken
        if self._broken is not None:
            why = f"{type(self._broken).__name__}: {next(iter(str(self._broken).splitlines()), '')}".rstrip(": .")
            raise TraceError(
                f"The screen had to close ({why}): 'tftrace info' tells whether the trace is whole, "
                "'tftrace show' prints it."
            ) from self._broken
        return found

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own; here the first exception is kept, that of a thread in the place of its wrapping."""
        if self._broken is None:
            self._broken = error.error if isinstance(error, WorkerFailed) else error  # type: ignore[assignment]
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Leave out Textual's page of local variables, which may be a stranger's; `TEXTUAL=debug` shows it."""
        if "debug" in self.features:
            super()._fatal_error()
        else:
            self._close_messages_no_wait()

    def action_command_palette(self) -> None:
        """Open the palette, which asks in the language spoken."""
        if not CommandPalette.is_open(cast(App[object], self)):
            self.push_screen(CommandPalette(placeholder=tr("Search for commands…"), id="--command-palette"))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and ours after them."""
        return [*super().get_line_filters(), _SCREEN]
