"""Runs pieces of the recording in the midst of the model's code: unseen, timed, and never to its harm."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from time import perf_counter_ns
from types import FrameType
from typing import Any

from ..trace.disk.write_errors import why
from .calls import Call
from .depth import lend, take_back
from .torch_internals import (
    count_dispatch_modes,
    disable_dispatch_modes,
    disable_function_modes,
    getframe,
    is_traced,
)

_DEEP, _ROOM = 16, 400  # from 16 nested steps on, a piece of the recording gets 400 frames of its own
FULL = "Python's stack was nearly full: steps of the innermost calls are missing."


class State:
    """The state of a recording in one thread."""

    __slots__ = ("began", "busy", "collectors", "counts", "dark", "entered", "later", "own", "stack", "stopping")

    def __init__(self) -> None:
        self.stack: list[Call] = []
        self.counts: dict[Any, int] = {}  # how many calls of each name this forward had
        self.own = 0  # nanoseconds spent in the recording itself
        self.began = 0  # when the running piece of the recording began
        self.entered: Call | None = None  # the step that this piece entered
        self.busy = False  # whether a piece of the recording is running
        self.dark = False  # whether our trace function is set aside while nothing runs that is followed
        self.collectors: list[Call] = []  # calls on the stack whose recipes need calls below them
        self.later: list[Callable[[], None]] = []  # what is to be done when the running piece is done
        self.stopping = False  # whether an exception ends steps on purpose, none of which has failed


class _Local(threading.local):
    """The state of each thread."""

    def __init__(self) -> None:
        self.state = State()


class Guard:
    """Runs pieces of a recording. A failure in one never reaches the model; it ends the recording, with one warning.

    Attributes:
        failure: What ended the recording; None if nothing did.
        unwritten: Whether that was because the trace could not be written.
        full: Whether steps are missing because Python's stack was full.
        over: Whether nothing more is recorded, even if threads still run.
        tracing: Our own sys.settrace function, if lines are followed by one.
        set_trace: Sets it.
        steps: How many steps have been entered.
        hook: Does what `run` does; an engine may put what is compiled in its place.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self.unwritten = False
        self.full = False
        self.over = False
        self.tracing: Any = None
        self.set_trace: Callable[[Any], object] = sys.settrace
        self.steps = 0
        self._local = _Local()
        self._lock = threading.RLock()
        self._start = perf_counter_ns()
        self.hook: Callable[..., Any] = self.run

    def failed(self, running: list[Call]) -> None:
        """Called once, when a failure has ended the recording in the midst of these calls."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether this thread is in the recording's own code, which is not recorded."""
        return self._local.state.busy

    def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a piece of the recording; if it fails, the recording ends, and the model's forward goes on.

        Neither the line tracer nor what watches torch (modes, classes of tensors) sees it. A step that it enters begins
        when it ends, so that no duration includes time spent in the recording. Nothing is recorded within
        torch.jit.trace, which would also note what we compute.

        Args:
            work: The piece.
            args: Its arguments.

        Returns:
            What it returned; None if it was not run, or failed.
        """
        state = self._local.state
        if state.busy or self.over or is_traced():
            return None
        tracing, traced, lent, began = self.tracing, False, None, None
        try:
            state.busy = True
            if len(state.stack) >= _DEEP:
                lent = lend(_ROOM)
            if tracing is not None and sys.gettrace() is tracing:
                sys.settrace(None)
                traced = True
            state.began = began = perf_counter_ns()
            with self._lock:
                if self.over:  # another thread has ended it meanwhile
                    return None
                with disable_function_modes():  # neither modes nor a tensor's own `__torch_function__`, which may raise
                    if count_dispatch_modes():
                        with disable_dispatch_modes():
                            return work(*args)
                    return work(*args)
        except Exception as error:
            self.broke(error, lent is None)
            return None
        finally:
            state.busy = False
            ended = perf_counter_ns()
            state.own += ended - (began or ended)
            entered = state.entered
            if entered is not None:
                state.entered = None
                entered.start_ns, entered.own_ns = ended - self._start, state.own
            if traced and state.stack and not self.over and sys.gettrace() is None:
                self.set_trace(tracing)
            if lent is not None:
                take_back(_ROOM, lent)
            if state.later:
                self._do_later(state)

    def broke(self, error: Exception, crowded: bool = True) -> None:
        """End the recording after an error in a piece of it; one that had no room of its own, and lacked some, is just
        left out."""
        if isinstance(error, RecursionError) and crowded and _full(getframe()):
            self.full = True  # the calls of the model itself have filled the stack
        else:
            self._fail(error)

    def untrace(self) -> bool:
        """Set our own sys.settrace function aside; whether it is to be put back, also if it was aside already. Python
        looks for a new line at each of its instructions while there is one, so that what comes before a `hook` is worth
        it, too."""
        state = self._local.state
        dark, state.dark = state.dark, False
        if sys.gettrace() is not self.tracing or self.tracing is None:
            return dark
        sys.settrace(None)
        return True

    def retrace(self) -> None:
        """Follow lines again, after `untrace`."""
        if self._local.state.stack and not self.over and sys.gettrace() is None:
            self.set_trace(self.tracing)

    def set_aside(self) -> None:
        """Leave our trace function aside until the module that begins has ended."""
        self._local.state.dark = True

    def afterwards(self, work: Callable[[], None]) -> None:
        """Let the user do something as soon as the running piece of the recording is done; what it raises is theirs."""
        self._local.state.later.append(work)

    def aside(self, work: Callable[[], None]) -> None:
        """Let the user do something now, of which nothing is recorded or timed."""
        self._local.state.later.append(work)
        self._do_later(self._local.state)

    def _do_later(self, state: State) -> None:
        tracing = sys.gettrace()
        sys.settrace(None)
        state.busy, began = True, perf_counter_ns()
        try:
            while state.later:
                state.later.pop(0)()
        finally:
            state.later.clear()
            state.busy = False
            state.own += perf_counter_ns() - began
            if sys.gettrace() is None:  # else the user steps on, and follows the program
                (self.set_trace if tracing is self.tracing else sys.settrace)(tracing)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.over:
                return
            self.over, self.unwritten = True, isinstance(error, OSError)
            self.failure = why(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            running, self._local.state.stack[:] = self._local.state.stack[:], []
            self.failed(running)
        with contextlib.suppress(RuntimeWarning, RecursionError):  # raised where warnings are turned into errors
            warnings.warn(self._stopped(error), RuntimeWarning, stacklevel=4)

    def _stopped(self, error: Exception) -> str:
        """The warning that tells why the recording ended."""
        stopped = f"tftrace stopped recording at step {self.steps} and the model runs on: "
        if isinstance(error, OSError):  # no room, or no right to write
            stopped += f"the trace cannot be written ({error.strerror or error}). "
            gone = isinstance(error, FileNotFoundError)
            stopped += "Its folder was moved, deleted or replaced." if gone else "What was written can be opened."
        else:
            stopped += f"{self.failure}. Please report this:\n{''.join(traceback.format_exception(error))}"
        return stopped


def _full(frame: FrameType | None) -> bool:
    """Whether the frames from this one on fill at least half of the stack, as each may count twice."""
    frames = 0
    while frame is not None:
        frames += 1
        frame = frame.f_back
    return 2 * frames > sys.getrecursionlimit()
