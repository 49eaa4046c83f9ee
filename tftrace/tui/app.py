"""The application: a position in a trace, panes that show it, and keys that move it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from textual import events
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from ..compare import TraceSide
from ..errors import TraceError
from ..language import LANGUAGES, speak, spoken, tr
from ..navigate import breakpoints as stops
from ..navigate.breakpoints import Breakpoint
from ..text import visible
from ..trace.missing import must_have_steps
from ..trace.trace import Trace
from . import editor
from .command_palette import KeyCommands
from .dialogs.overlays import SMALLEST, HelpScreen, TooSmall
from .dialogs.prompt import Prompt
from .keymap import bindings
from .panes.barpane import BarPane
from .panes.equationpane import EquationPane
from .panes.gridpane import GridPane
from .panes.pane import Pane
from .panes.sourcepane import SourcePane
from .panes.stopspane import StopsPane
from .panes.tensorpane import TensorPane
from .panes.treepane import Marks, StepsPane
from .statusline import StatusLine
from .trace_loading import LoadingApp

_LOW = 38  # below this height in rows, bar and stops leave their place to the steps
_WIDTHS = ("", "-wide", "-widest")  # of the steps
_NARROW = 130  # below this width in columns, the equation is above the tensors instead of beside them


# The two runs, what they are called, and the language of the screen.
Beside = Callable[[TraceSide, TraceSide, tuple[str, str], str], None]


class TraceApp(LoadingApp):
    """The debugger on one trace.

    Args:
        trace: The trace; it may still be loading (see `Trace.whole`).
        language: Language of the screen, one of `tftrace.language.LANGUAGES`.
        start: Position to start at; by default where the user left, or the first step.
        breakpoints: Breakpoints to set, after those of the last session.
        follow: Whether to keep reading while the trace is being recorded.
        remember: Whether to restore and save position, folds and breakpoints.

    Raises:
        TraceError: The trace has no steps.
    """

    CSS_PATH = "app.tcss"
    TITLE = "tftrace"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS = {KeyCommands}  # noqa: RUF012 - Textual's own type
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]

    def __init__(
        self,
        trace: Trace,
        language: str = "en",
        start: int | None = None,
        *,
        breakpoints: Sequence[Breakpoint] = (),
        follow: bool = False,
        remember: bool = False,
    ) -> None:
        must_have_steps(trace)
        self.trace = trace
        speak(language)
        self.position = 0
        super().__init__(start, follow=follow, remember=remember)
        self.breakpoints.all = [*breakpoints]

    def compose(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                yield StepsPane(self.trace, self.outline)
                yield GridPane(self.trace)
                yield BarPane(self.trace)
                yield StopsPane(self.trace)
            with Vertical(id="right"):
                yield SourcePane(self.trace)
                with Horizontal(id="below"):
                    yield EquationPane(self.trace)
                    yield TensorPane(self.trace)
        yield StatusLine(self.trace)
        yield Prompt()
        yield TooSmall()

    def on_mount(self) -> None:
        self._focus("steps")
        self.call_after_refresh(self.begin)

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.screen.set_class(width < _NARROW, "-narrow")
        self.screen.set_class(height < _LOW, "-low")
        self.screen.set_class(width < SMALLEST[0] or height < SMALLEST[1], "too-small")
        self.query_one(TooSmall).show_size(width, height)
        self.call_after_refresh(lambda: self.go(self.position))

    def go(self, position: int, follow: bool = True) -> None:
        """Make `position` the current step."""
        self.position = max(0, min(position, len(self.trace) - 1))
        self.outline.reveal(self.position)
        marks = Marks(np.asarray(self.matches, np.int64), self.broken_at, np.fromiter(self.notes, np.int64))
        self.query_one(StepsPane).show(self.position, marks, self.filter_text, follow)
        bar = self.query_one(BarPane)
        bar.show(self.position, marks)
        if self.screen.has_class("as-grid"):
            self.query_one(GridPane).show(self.position, bar.measure)
        self.query_one(StopsPane).show(self.breakpoints, self.notes.get(self.position, ""))
        self.query_one(SourcePane).show(self.position, frozenset(one.pattern for one in self.breakpoints.all))
        self.query_one(EquationPane).show(self.position)
        self.query_one(TensorPane).show(self.position)
        self.query_one(StatusLine).show(self.position, self.search_text)

    # -- clicks -------------------------------------------------------------------------------------

    def on_steps_pane_chosen(self, event: StepsPane.Chosen) -> None:
        self.go(event.position, follow=False)

    def on_steps_pane_folded(self, event: StepsPane.Folded) -> None:
        self.fold(event.position)

    def on_steps_pane_marking(self, event: StepsPane.Marking) -> None:
        self.toggle_breakpoint(stops.breakpoint_at(self.trace, event.position))

    def on_grid_pane_chosen(self, event: GridPane.Chosen) -> None:
        self.jump(event.position)

    def on_bar_pane_chosen(self, event: BarPane.Chosen) -> None:
        self.go(event.position)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.query_one(StepsPane).space.height - 1))

    def action_bar(self) -> None:
        self.query_one(BarPane).next_measure()
        self.go(self.position)

    def action_grid(self) -> None:
        """Switch between the tree and the grid of layers and forward passes."""
        gridded = not self.screen.has_class("as-grid")
        self._clear_only()
        self.screen.set_class(gridded, "as-grid")
        self._focus("grid" if gridded else "steps")
        self.call_after_refresh(lambda: self.go(self.position))

    # -- view -----------------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        again = self.screen.focused is self.query_one(f"#{name}")
        filled = self.screen.has_class(f"only-{name}")
        self._clear_only()
        self.screen.set_class(again and not filled, f"only-{name}")
        self.screen.set_class(name == "stops", "with-stops")
        self._focus(name)

    def action_all_panes(self) -> None:
        if not self.leave_filter():
            self._clear_only()
            self.screen.remove_class("with-stops")
        self._focus("grid" if self.screen.has_class("as-grid") else "steps")

    def _focus(self, name: str) -> None:
        """Focus a pane at once; `Widget.focus` is deferred, and a quick second key would go to the wrong pane."""
        self.screen.set_focus(self.query_one(f"#{name}", Pane))

    def _clear_only(self) -> None:
        self.screen.remove_class("only-steps", "only-source", "only-equation", "only-tensors", "only-stops")

    def action_edit(self) -> None:
        """Open the line of the source pane in the user's editor."""
        place = self.query_one(SourcePane).place
        if place is None:
            return self.say("There is no source to edit here.")
        file, line = place
        try:
            program = editor.editor()
            installed = editor.is_installed(file)
            path, live = editor.file_to_open(self.trace, file, program)
            with self.suspend():
                subprocess.run(editor.command(program, path, line, installed), check=False)
        except TraceError as error:
            return self.say(str(error))
        except (SuspendNotSupported, OSError):
            return self.say(f"No editor can be opened from here; the line is {file}:{line}.")
        self.refresh(layout=True)
        if installed:
            self.say(tr("{name} belongs to an installed library, so it was opened read-only.", name=visible(path.name)))
        elif not live:
            self.say("The file has changed since it ran, so this was a copy of what ran.")

    def action_language(self) -> None:
        speak(LANGUAGES[(LANGUAGES.index(spoken()) + 1) % len(LANGUAGES)])
        self.go(self.position)

    def action_widen(self, by: int) -> None:
        """Give the steps more of the screen, or less."""
        now = next((at for at, name in enumerate(_WIDTHS) if name and self.screen.has_class(name)), 0)
        wanted = max(0, min(now + by, len(_WIDTHS) - 1))
        for at, name in enumerate(_WIDTHS[1:], 1):
            self.screen.set_class(at == wanted, name)
        if wanted == now:
            widest = tr("The steps are as wide as can be: < takes it back.")
            self.say(widest if by > 0 else tr("> makes the steps wider."))
        self.call_after_refresh(lambda: self.go(self.position))

    def repaint(self) -> None:
        """Draw everything again, in other colours."""
        self.go(self.position)

    def action_help(self) -> None:
        self.push_screen(HelpScreen())


def run(trace: Trace, language: str = "en", beside: Beside | None = None, **options: Any) -> None:
    """Open the debugger on a trace and return when the user quits.

    Args:
        trace: The trace.
        language: Language of the screen.
        beside: Shows this run and an edited one side by side, until the user comes back.
        **options: The other arguments of `TraceApp`.

    Raises:
        TraceError: The trace has no steps, or the rest of it cannot be read.
    """
    app = TraceApp(trace, language, **options)
    app.run()
    while app.failure is None and beside is not None and (tried := app.beside) is not None:
        beside(TraceSide(trace), TraceSide(tried.trace), (trace.path.name, tried.edit), spoken())
        app = TraceApp(trace, spoken(), **options | {"start": app.position, "breakpoints": app.breakpoints.all})
        app.run()
    if app.failure is not None:
        raise app.failure
