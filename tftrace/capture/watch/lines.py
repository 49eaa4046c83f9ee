"""Records the source lines of modeling code as they run, the locals that each binds, and the functions that it calls.

Only frames of the files with the model's forwards are followed, and those of transformers' functions that compute their
attention. If a module's `forward` is called directly, past its hooks, it is recorded here as a function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import torch

from ...trace import schema
from ...trace.writer import TraceWriter
from ..calls import Call, Place, place
from ..code_site import NOWHERE, Site, Statement, call_site, qualified_name, statements
from ..quick.quick_calls import quick_lines
from ..recording import Recording
from .watched_modules import WatchedModules

_TORCH = os.path.dirname(torch.__file__) + os.sep
_INTEGRATIONS = os.path.join("transformers", "integrations", "")
_INNER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class _Line:
    """A statement in one function of one module."""

    __slots__ = ("binds", "place")

    def __init__(self, where: Place, binds: frozenset[str]) -> None:
        self.place, self.binds = where, sorted(binds)


class LineTracer:
    """Follows frames of the modeling files.

    Args:
        recording: Receives the steps.
        hooks: Knows the modules of the models.
        writer: Receives the source files.
        lines: Whether to record lines as well as calls.

    Attributes:
        recording: The recording.
        body: The class of what follows a frame.
        again: Called when more code may be wanted than before.
    """

    def __init__(self, recording: Recording, hooks: WatchedModules, writer: TraceWriter, *, lines: bool) -> None:
        quick_lines(_Body, _Line)
        self.recording, self._hooks, self._writer, self.lines, self.body = recording, hooks, writer, lines, _Body
        self._files: set[str] = set()
        self._forwards: dict[int, CodeType] = {}  # code of torch's own forwards, by its id: its hash takes long
        self._kinds: set[type] = set()
        self._looked_at = 0  # how many modules there were when their files were last looked up
        self._places: dict[Any, tuple[Place, Any]] = {}  # by ids, and what has these: hashing code takes long
        self._lines: dict[tuple[int, str], tuple[CodeType, dict[int, _Line]]] = {}  # by the id of code that is kept
        self.again: Callable[[], None] = lambda: None

    def wants(self, code: CodeType) -> bool:
        """Whether calls of this code are followed."""
        if code.co_name.startswith("<") or code.co_flags & _INNER:
            return False
        self._look_for_files()
        integration = _INTEGRATIONS in code.co_filename and code.co_name.endswith("_attention_forward")
        return code.co_filename in self._files or id(code) in self._forwards or integration

    def follow(self, code: CodeType) -> None:
        """Follow a function as well, and the functions of its file that it calls."""
        if code.co_filename not in self._files:
            self._files.add(code.co_filename)
            self.again()

    def _look_for_files(self) -> None:
        """Look up the files of the forwards of all modules, including new ones."""
        watched = list(self._hooks.watched.values())  # a copy, since another thread may add to it
        if len(watched) == self._looked_at:
            return
        for kind in {one.kind for one in watched} - self._kinds:
            for base in kind.__mro__:
                forward = vars(base).get("forward")
                code = getattr(inspect.unwrap(forward), "__code__", None) if callable(forward) else None
                if code is not None and code.co_filename.startswith(_TORCH):
                    self._forwards[id(code)] = code
                elif code is not None:
                    self._files.add(code.co_filename)
            self._kinds.add(kind)
        self._looked_at = len(watched)

    def called(self, frame: FrameType) -> _Body | None:
        """Begin to follow a frame; it becomes a step of its own, unless it is the forward of the module just called."""
        recording = self.recording
        code = frame.f_code
        if id(code) in self._forwards and not recording.busy and not recording.over:
            stack = recording.stack  # a forward of torch's own, as of most modules: nothing of it is followed
            if stack and stack[-1].body is code:
                stack[-1].body = None
                return None
        return recording.hook(self._called, frame)  # type: ignore[no-any-return]

    def _called(self, frame: FrameType) -> _Body | None:
        code, stack = frame.f_code, self.recording.stack
        top = stack[-1] if stack else None
        if top is None or top.muted:
            return None
        torchs = id(code) in self._forwards
        if top.body is code:
            top.body = None
            followed = self.lines or any(match.locals for match in top.equations)
            return self._body(top, frame) if followed and not torchs else None
        call = self._function(frame, code, top, torchs)
        return None if call is None else self._body(call, frame)

    def _function(self, frame: FrameType, code: CodeType, top: Call, torchs: bool) -> Call | None:
        """Begin the step of a function; a forward of torch's own becomes one only if it is called past hooks."""
        above, arguments = top.call, dict(frame.f_locals)
        path, watched = None, None
        running = top.module
        if code.co_name == "forward":
            owner = arguments.get("self")
            watched = self._hooks.watched.get(id(owner))
            if watched is not None and (running is None or owner is not running.owner):
                path = next(iter(watched.names), watched.type)  # one that was just made has no name yet
        if path is None and torchs:
            return None
        where = self._place(frame, above, path)
        arguments = {name: value for name, value in arguments.items() if not name.startswith("__")}
        if path is None:
            return self.recording.enter(where, above.owner, arguments)
        call = self.recording.enter(where, arguments["self"], arguments, direct=True)
        if watched is not None and watched.described is None:
            self._hooks.describe(watched, call, arguments["self"])
        return call

    def _place(self, frame: FrameType, above: Call, path: str | None) -> Place:
        """Where a function is called."""
        caller, code = frame.f_back, frame.f_code
        key = (id(above.place), path, id(code), id(caller and caller.f_code), caller.f_lasti if caller else 0)
        known = self._places.get(key)
        if known is None:
            name = f"{above.name if path is None else path}.{code.co_name}".lstrip(".")
            site = NOWHERE if caller is None else call_site(caller)
            definition = Site(code.co_filename, code.co_firstlineno)
            where = place(schema.FUNCTION, name, qualified_name(frame), site, definition)
            known = self._places[key] = where, (above.place, code, caller and caller.f_code)
            self._writer.keep_source(site.file)
        return known[0]

    def _body(self, call: Call, frame: FrameType) -> _Body:
        code = frame.f_code
        known = self._lines.get((id(code), call.place.name))
        if known is None:
            known = self._lines[id(code), call.place.name] = code, {}
            self._writer.keep_source(code.co_filename)
        return _Body(self.recording, call, known[1])


class _Body:
    """The running frame of one call, and the line it is on."""

    __slots__ = ("_at", "_call", "_lines", "_recording", "_step")

    def __init__(self, recording: Recording, call: Call, lines: dict[int, _Line]) -> None:
        self._recording, self._call, self._lines = recording, call, lines
        self._at: _Line | None = None
        self._step: Call | None = None

    def line(self, frame: FrameType) -> None:
        """Note the line that begins; it may still belong to the same statement."""
        quick = self._recording.quick
        if quick is not None and quick.line(self, frame):
            return
        line = self._lines.get(frame.f_lineno)
        if line is None or line is not self._at:
            self._recording.hook(self._advance, frame, line)

    def leave(self, frame: FrameType, value: Any, raised: bool) -> None:
        """Note that the frame ends."""
        self._recording.hook(self._return, frame, value, raised)

    def _advance(self, frame: FrameType, line: _Line | None) -> None:
        if line is None:
            line = self._new(frame)
            if line is self._at:
                return
        if self._step is not None:
            self._end(frame)
        self._at = line
        self._step = self._recording.next_line(self._step, line.place, line, self._call.owner)

    def _end(self, frame: FrameType) -> None:
        """End the step of the line that ran, with the locals that it bound."""
        step, line = self._step, self._at
        assert step is not None and line is not None
        if line.binds:
            now = frame.f_locals
            for name in line.binds:
                if name in now:
                    self._recording.see_one(step, schema.LOCAL, name, now[name])
        self._recording.end_line(step)

    def _return(self, frame: FrameType, value: Any, raised: bool) -> None:
        if self._step is not None:
            if not raised:
                self._end(frame)
                self._recording.drop(self._step)
            else:
                self._recording.leave(self._step, raised=True)
            self._step = self._at = None
        call = self._call
        if call.equations and any(match.locals for match in call.equations):
            call.values = dict(frame.f_locals)
        if call.place.kind is schema.FUNCTION and not call.held:
            self._recording.leave(call, value, raised)

    def _new(self, frame: FrameType) -> _Line:
        """Find the statement of a line that runs for the first time."""
        code, number = frame.f_code, frame.f_lineno
        found = statements(code.co_filename).get(number)
        site, binds = found or Statement(Site(code.co_filename, number, number))
        for line in self._lines.values():
            if line.place.line == site.line:
                self._lines[number] = line
                return line
        definition = Site(code.co_filename, code.co_firstlineno)
        where = place(schema.LINE, self._call.name, qualified_name(frame), site, definition)
        self._lines[number] = line = _Line(where, binds)
        return line
