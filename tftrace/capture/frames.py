"""Which Python frames run, as the interpreter tells it: three ways, for it depends on the version and on who else asks.

`sys.monitoring` (from Python 3.12 on) leaves every other tool alone. Before, `sys.settrace` has room for one: where a
debugger or a coverage tool sits there, `sys.setprofile` still tells calls and returns, but no lines."""

from __future__ import annotations

import sys
import threading
from types import CodeType, FrameType
from typing import Any, Protocol

_PLACES = (4, 3, 5, 2)  # of sys.monitoring; 0, 1, 2 and 5 are meant for debuggers, coverage, profilers, optimizers


class Body(Protocol):
    """A frame that is followed."""

    def line(self, frame: FrameType) -> None: ...
    def leave(self, frame: FrameType, value: Any, raised: bool) -> None: ...


class Follower(Protocol):
    """Who wants to know of frames."""

    lines: bool

    def wants(self, code: CodeType) -> bool: ...
    def called(self, frame: FrameType) -> Body | None: ...


class Settrace:
    """Frames by `sys.settrace`, in each thread that has begun to follow."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._wanted: dict[CodeType, bool] = {}
        self.function = self._called

    def start(self) -> bool:
        """Follow this thread from now on; False where another tracer has taken its place."""
        if sys.gettrace() is None:
            sys.settrace(self.function)
        return sys.gettrace() is self.function

    def stop(self) -> None:
        """Follow this thread no more."""
        if sys.gettrace() is self.function:
            sys.settrace(None)

    def close(self) -> None:
        """End for all threads."""
        self.stop()

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            wanted = self._wanted[code] = self._follower.wants(code)
        if not wanted or event != "call":
            return None
        body = self._follower.called(frame)
        if body is None:
            return None
        frame.f_trace_lines = self._follower.lines
        return _Local(body).event


class _Local:
    """The local trace function of one frame."""

    __slots__ = ("_body", "_raised")

    def __init__(self, body: Body) -> None:
        self._body, self._raised = body, False

    def event(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self._raised = False
            self._body.line(frame)
        elif event == "return":
            self._body.leave(frame, arg, self._raised and arg is None)
        elif event == "exception":
            self._raised = True
        return self.event


class _Stacks(threading.local):
    """The followed frames of a thread, innermost last."""

    def __init__(self) -> None:
        self.following = False
        self.frames: list[tuple[FrameType, Body]] = []


class Monitoring:
    """Frames by `sys.monitoring`, which is one for all threads; only the wanted code pays for its lines."""

    function = None  # there is no trace function of ours to be set aside

    def __init__(self, follower: Follower) -> None:
        self._follower, self._threads = follower, _Stacks()
        self._api: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._tool: int | None = None
        self._codes: set[CodeType] = set()

    @property
    def free(self) -> bool:
        """Whether there is a place for one more tool."""
        return any(self._api.get_tool(place) is None for place in _PLACES)

    def start(self) -> bool:
        """Follow this thread from now on; False where all places for tools are taken."""
        if self._tool is None:
            self._register()
        self._threads.following = self._tool is not None
        return self._threads.following

    def stop(self) -> None:
        """Follow this thread no more."""
        self._threads.following = False
        self._threads.frames.clear()

    def close(self) -> None:
        """End for all threads, and give the place back."""
        self.stop()
        if self._tool is None:
            return
        for code in self._codes:
            self._api.set_local_events(self._tool, code, 0)
        self._codes.clear()
        self._api.set_events(self._tool, 0)
        for event in self._handlers():
            self._api.register_callback(self._tool, event, None)
        self._api.free_tool_id(self._tool)
        self._tool = None

    def _handlers(self) -> dict[int, Any]:
        events = self._api.events
        return {
            events.PY_START: self._begun,
            events.LINE: self._line,
            events.PY_RETURN: self._returned,
            events.PY_UNWIND: self._unwound,
        }

    def _register(self) -> None:
        tool = next((place for place in _PLACES if self._api.get_tool(place) is None), None)
        if tool is None:
            return
        self._tool = tool
        self._api.use_tool_id(tool, "tftrace")
        for event, handler in self._handlers().items():
            self._api.register_callback(tool, event, handler)
        self._api.set_events(tool, self._api.events.PY_START | self._api.events.PY_UNWIND)
        self._api.restart_events()

    def _begun(self, code: CodeType, offset: int) -> Any:
        if code not in self._codes:
            if not self._follower.wants(code):
                return self._api.DISABLE
            self._codes.add(code)
            events = self._api.events
            lines = events.LINE if self._follower.lines else 0
            self._api.set_local_events(self._tool, code, events.PY_RETURN | lines)
        if self._threads.following:
            frame = sys._getframe(1)
            body = self._follower.called(frame)
            if body is not None:
                self._threads.frames.append((frame, body))
        return None

    def _line(self, code: CodeType, line: int) -> None:
        frames = self._threads.frames
        if frames and frames[-1][0] is sys._getframe(1):
            frames[-1][1].line(frames[-1][0])

    def _returned(self, code: CodeType, offset: int, value: Any) -> None:
        self._left(sys._getframe(1), value, False)

    def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
        self._left(sys._getframe(1), None, True)

    def _left(self, frame: FrameType, value: Any, raised: bool) -> None:
        frames = self._threads.frames
        if frames and frames[-1][0] is frame:
            frames.pop()[1].leave(frame, value, raised)


class Setprofile:
    """Frames by `sys.setprofile`: calls and returns, no lines, and no telling an exception from `return None`."""

    function = None

    def __init__(self, follower: Follower) -> None:
        self._follower, self._threads = follower, _Stacks()
        self._wanted: dict[CodeType, bool] = {}

    def start(self) -> bool:
        """Follow this thread from now on; False where a profiler has taken its place."""
        if sys.getprofile() is None:
            sys.setprofile(self._event)
        return sys.getprofile() == self._event

    def stop(self) -> None:
        """Follow this thread no more."""
        if sys.getprofile() == self._event:
            sys.setprofile(None)
        self._threads.frames.clear()

    def close(self) -> None:
        """End for all threads."""
        self.stop()

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            code = frame.f_code
            wanted = self._wanted.get(code)
            if wanted is None:
                wanted = self._wanted[code] = self._follower.wants(code)
            body = self._follower.called(frame) if wanted else None
            if body is not None:
                self._threads.frames.append((frame, body))
        elif event == "return":
            frames = self._threads.frames
            if frames and frames[-1][0] is frame:
                frames.pop()[1].leave(frame, arg, False)


def source_of_frames(follower: Follower) -> tuple[Settrace | Monitoring | Setprofile | None, list[str]]:
    """What can follow frames here, and in words what is lost because something else sits in its place."""
    if hasattr(sys, "monitoring"):
        frames = Monitoring(follower)
        if frames.free:
            return frames, []
        return None, ["All places of sys.monitoring are taken: lines and functions are not recorded."]
    tracer, profiler = sys.gettrace(), sys.getprofile()
    if tracer is None:
        return Settrace(follower), []
    taken = f"sys.settrace belongs to {_owner(tracer)}"
    if profiler is not None:
        return None, [f"{taken}, and sys.setprofile to {_owner(profiler)}: lines and functions are not recorded."]
    if not follower.lines:
        return Setprofile(follower), [f"{taken}: a function that raised is recorded as returned."]
    return Setprofile(follower), [f"{taken}: lines are not recorded, and a function that raised as returned."]


def _owner(function: Any) -> str:
    """Whose trace function this is, as far as it tells."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"
