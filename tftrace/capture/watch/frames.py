"""Follows Python frames, in one of three ways, depending on the version of Python and on other tools.

`sys.monitoring` (Python 3.12 and later) leaves all other tools alone. Before that, `sys.settrace` has room for only one
tool. If a debugger or a coverage tool uses it, `sys.setprofile` still reports calls and returns, but no lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from opcode import opmap
from types import CodeType, FrameType
from typing import Any, Protocol

from ..quick.quick_calls import quick_tracer
from ..torch_internals import getframe

_PLACES = (4, 3, 5, 2)  # tool ids; 0, 1, 2 and 5 are meant for debuggers, coverage, profilers, optimizers
_CODES = 1 << 16  # that are remembered
_RETURNS = {opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opmap}
_DEBUGGERS = {"set_trace", "settrace"}  # functions by which pdb and similar debuggers take over a running program


class Body(Protocol):
    """A frame that is followed: it is told of each line and of its end."""

    def line(self, frame: FrameType) -> None: ...
    def leave(self, frame: FrameType, value: Any, raised: bool) -> None: ...


class Follower(Protocol):
    """Whoever wants to follow frames: it chooses code, and is told of each call of it."""

    lines: bool

    def wants(self, code: CodeType) -> bool: ...
    def called(self, frame: FrameType) -> Body | None: ...


class _Wanted(dict[int, tuple[bool, CodeType]]):
    """Whether code is wanted, by its id, which stays unique as the code is kept: the hash of code goes through all of
    its names and constants, and Python tells of every call."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def ask(self, code: CodeType) -> bool:
        """Ask for code that is new."""
        wanted = self._follower.wants(code)
        if len(self) >= _CODES:  # of a program that makes code all the time
            self.clear()
        self[id(code)] = wanted, code
        return wanted


class Settrace:
    """Follows frames through `sys.settrace`, in each thread that calls `start`."""

    def __init__(self, follower: Follower) -> None:
        self._follower, self._closed = follower, False
        self._wanted = _Wanted(follower)
        self.function, self.set = quick_tracer(follower, self._look_at, self._called, _Local)
        self._forget: Callable[[], None] = getattr(self.function, "again", lambda: None)

    def start(self) -> bool:
        """Begin to follow this thread; False if another tracer has taken our place."""
        if sys.gettrace() is None:
            self.set(self.function)
        return sys.gettrace() is self.function

    def stop(self) -> None:
        """Stop following this thread."""
        if sys.gettrace() is self.function:
            sys.settrace(None)

    def again(self) -> None:
        """Ask again for all code whether it is wanted, since there are new models."""
        self._wanted.clear()
        self._forget()

    def close(self) -> None:
        """Stop following all threads; other threads notice at their next call."""
        self._closed = True
        self.again()
        self.stop()

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        known = self._wanted.get(id(frame.f_code))
        if not (self._look_at(frame) if known is None else known[0]):
            return None
        body = self._follower.called(frame)
        if body is None:
            return None
        if not self._follower.lines:
            frame.f_trace_lines = False
        return _Local(body)

    def _look_at(self, frame: FrameType) -> bool | None:
        """Whether code that is called for the first time is wanted; None if that is to be asked again."""
        code = frame.f_code
        if self._closed:
            self.stop()
            return None
        if code.co_name in _DEBUGGERS:
            above = frame.f_back
            while above is not None:  # the debugger needs the lines of frames in which we have switched them off
                if isinstance(above.f_trace, _Local):
                    above.f_trace_lines = True
                above = above.f_back
            return None
        return self._wanted.ask(code)


class _Local:
    """The local trace function of one frame."""

    __slots__ = ("_body",)

    def __init__(self, body: Body) -> None:
        self._body = body

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self._body.line(frame)
        elif event == "return":
            self._body.leave(frame, arg, _raised(frame, arg))
        return self


def _raised(frame: FrameType, value: Any) -> bool:
    """Whether a frame ends with an exception, which tracers see as `return None`.

    An earlier event of an exception would not tell: it may have been caught since, and one that continues after
    `finally` is not reported again.
    """
    return value is None and frame.f_code.co_code[frame.f_lasti] not in _RETURNS


class _Stacks(threading.local):
    """The followed frames of a thread, innermost last."""

    def __init__(self) -> None:
        self.following = False
        self.frames: list[tuple[FrameType, Body]] = []

    def leave(self, frame: FrameType, value: Any, raised: bool) -> None:
        """End a frame, and first those above it whose end was not reported."""
        frames = self.frames
        if frames and frames[-1][0] is not frame and any(followed is frame for followed, _ in frames):
            while frames[-1][0] is not frame:
                frames.pop()
        if frames and frames[-1][0] is frame:
            frames.pop()[1].leave(frame, value, raised)


class Monitoring:
    """Follows frames through `sys.monitoring`, which serves all threads; only wanted code is slowed by line events."""

    function = None  # we have no trace function to set aside

    def __init__(self, follower: Follower) -> None:
        self._follower, self._threads = follower, _Stacks()
        self._api: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._tool: int | None = None
        self._codes: set[CodeType] = set()
        self._lock = threading.RLock()  # so that no other thread uses a tool id that was given back

    @property
    def free(self) -> bool:
        """Whether there is a tool id left."""
        return any(self._api.get_tool(place) is None for place in _PLACES)

    def start(self) -> bool:
        """Begin to follow this thread; False if all tool ids are taken."""
        with self._lock:
            if self._tool is None:
                self._tool = self._registered()
        self._threads.following = self._tool is not None
        return self._threads.following

    def stop(self) -> None:
        """Stop following this thread."""
        self._threads.following = False
        self._threads.frames.clear()

    def again(self) -> None:
        """Ask again for all code whether it is wanted, since there are new models."""
        self._api.restart_events()

    def close(self) -> None:
        """Stop following all threads, and give the tool id back."""
        self.stop()
        with self._lock:
            tool, self._tool = self._tool, None
            if tool is None:
                return
            self._api.set_events(tool, 0)
            for code in self._codes:
                self._api.set_local_events(tool, code, 0)
            self._codes.clear()
            for event in self._handlers():
                self._api.register_callback(tool, event, None)
            self._api.free_tool_id(tool)

    def _handlers(self) -> dict[int, Any]:
        events = self._api.events
        return {
            events.PY_START: self._begun,
            events.LINE: self._line,
            events.PY_RETURN: self._returned,
            events.PY_UNWIND: self._unwound,
        }

    def _registered(self) -> int | None:
        for place in _PLACES:
            try:
                self._api.use_tool_id(place, "tftrace")
            except ValueError:  # another tool has it
                continue
            for event, handler in self._handlers().items():
                self._api.register_callback(place, event, handler)
            self._api.set_events(place, self._api.events.PY_START | self._api.events.PY_UNWIND)
            self._api.restart_events()  # including those that an earlier recording with this id disabled
            return place
        return None

    def _begun(self, code: CodeType, offset: int) -> Any:
        if code not in self._codes:
            if not self._follower.wants(code):
                return self._api.DISABLE
            with self._lock:
                if self._tool is None:
                    return None
                self._codes.add(code)
                events = self._api.events
                lines = events.LINE if self._follower.lines else 0
                self._api.set_local_events(self._tool, code, events.PY_RETURN | lines)
        if self._threads.following:
            frame = getframe(1)
            body = self._follower.called(frame)
            if body is not None:
                self._threads.frames.append((frame, body))
        return None

    def _line(self, code: CodeType, line: int) -> None:
        frames = self._threads.frames
        if frames and frames[-1][0] is getframe(1):
            frames[-1][1].line(frames[-1][0])

    def _returned(self, code: CodeType, offset: int, value: Any) -> None:
        self._threads.leave(getframe(1), value, False)

    def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
        self._threads.leave(getframe(1), None, True)


class Setprofile:
    """Follows frames through `sys.setprofile`: calls and returns, but no lines."""

    function = None

    def __init__(self, follower: Follower) -> None:
        self._follower, self._threads, self._closed = follower, _Stacks(), False
        self._wanted = _Wanted(follower)

    def start(self) -> bool:
        """Begin to follow this thread; False if a profiler has taken our place."""
        if sys.getprofile() is None:
            sys.setprofile(self._event)
        return sys.getprofile() == self._event

    def stop(self) -> None:
        """Stop following this thread."""
        if sys.getprofile() == self._event:
            sys.setprofile(None)
        self._threads.frames.clear()

    def again(self) -> None:
        """Ask again for all code whether it is wanted, since there are new models."""
        self._wanted.clear()

    def close(self) -> None:
        """Stop following all threads; other threads notice at their next call."""
        self._closed = True
        self.stop()

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            if self._closed:
                return self.stop()
            code = frame.f_code
            known = self._wanted.get(id(code))
            wanted = self._wanted.ask(code) if known is None else known[0]
            body = self._follower.called(frame) if wanted else None
            if body is not None:
                self._threads.frames.append((frame, body))
        elif event == "return":
            self._threads.leave(frame, arg, _raised(frame, arg))


def source_of_frames(follower: Follower) -> tuple[Settrace | Monitoring | Setprofile | None, list[str]]:
    """Choose a way to follow frames.

    Returns:
        The way, or None if there is none; and, in sentences, what is lost because other tools are in the way.
    """
    if hasattr(sys, "monitoring"):
        frames = Monitoring(follower)
        if frames.free:
            return frames, []
    tracer, profiler = sys.gettrace(), sys.getprofile()
    if tracer is None:
        return Settrace(follower), []
    taken = f"sys.settrace belongs to {_owner(tracer)}"
    if profiler is not None:
        return None, [f"{taken}, and sys.setprofile to {_owner(profiler)}: lines and functions are not recorded."]
    return Setprofile(follower), [f"{taken}: lines are not recorded."] if follower.lines else []


def _owner(function: Any) -> str:
    """The name of a trace function, which tells whose it is."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"
