"""The source lines of modeling code as they run, the locals each one binds, and the functions that code calls.

One `sys.settrace` function per thread, set when a forward begins and put back when it ends; frames of other
code are turned away at their call event, so that only modeling code pays for its lines."""

from __future__ import annotations

import inspect
import os
import threading
from types import CodeType, FrameType
from typing import Any

import torch

from .. import schema
from ..source import Site, Statement, call_site, qualified_name, statements
from .calls import Call
from .recording import Recording

_TORCH = os.path.dirname(torch.__file__) + os.sep
_INTEGRATIONS = os.path.join("transformers", "integrations", "")


def modeling_files(model: torch.nn.Module) -> set[str]:
    """The files in which the forwards of a model's modules are written, torch's own left out."""
    found = set()
    for kind in {type(module) for module in model.modules()}:
        for base in kind.__mro__:
            forward = vars(base).get("forward")
            code = getattr(inspect.unwrap(forward), "__code__", None) if callable(forward) else None
            if code is not None and not code.co_filename.startswith(_TORCH):
                found.add(code.co_filename)
    return found


class LineTracer:
    """Follows frames of the modeling files; `lines=False` records their calls only."""

    def __init__(self, recording: Recording, files: set[str], *, lines: bool = True) -> None:
        self._recording, self._files, self._lines = recording, files, lines
        self._wanted: dict[CodeType, bool] = {}
        self._earlier = threading.local()

    def switch(self, on: bool) -> None:
        """Start following this thread, or stop and put the earlier trace function back."""
        if on:
            self._earlier.trace = self._recording.trace
            self._recording.follow(self._called)
        elif self._recording.trace == self._called:
            self._recording.follow(self._earlier.trace)

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            wanted = self._wanted[code] = self._wants(code)
        if not wanted or event != "call":
            return None
        body = self._recording.guard(self._enter, frame, code)
        return None if body is None else body.event

    def _wants(self, code: CodeType) -> bool:
        if code.co_name.startswith("<") or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            return False
        integration = _INTEGRATIONS in code.co_filename and code.co_name.endswith("_attention_forward")
        return code.co_filename in self._files or integration

    def _enter(self, frame: FrameType, code: CodeType) -> _Body | None:
        stack = self._recording.stack
        if not stack:
            return None
        top = stack[-1]
        if top.kind is schema.MODULE and top.body is code:
            top.body = None
            return _Body(self._recording, top, frame, lines=self._lines)
        above = top.call
        caller = frame.f_back
        call = self._recording.enter(
            schema.FUNCTION,
            f"{above.name}.{code.co_name}".lstrip("."),
            qualified_name(frame),
            owner=above.owner,
            site=call_site(caller) if caller is not None else Site(),
            definition=Site(code.co_filename, code.co_firstlineno),
            arguments=_visible(frame.f_locals),
        )
        return _Body(self._recording, call, frame, lines=self._lines)


class _Body:
    """The frame of one call as it runs: which line it is on and what its names were bound to before."""

    def __init__(self, recording: Recording, call: Call, frame: FrameType, *, lines: bool) -> None:
        self._recording, self._call = recording, call
        self._line: Call | None = None
        self._binds: frozenset[str] = frozenset()
        self._raised = False
        self._names: dict[str, Any] = dict(frame.f_locals)
        self._type = qualified_name(frame)
        self._statements = statements(frame.f_code.co_filename)
        recording.writer.keep_source(frame.f_code.co_filename)
        self._follow = lines

    def event(self, frame: FrameType, event: str, arg: Any) -> Any:
        if self._recording.failure is not None:
            return None
        if event == "line":
            self._raised = False
            if self._follow:
                self._recording.guard(self._advance, frame)
        elif event == "exception":
            self._raised = True
        elif event == "return":
            self._recording.guard(self._return, frame, arg)
        return self.event

    def _advance(self, frame: FrameType) -> None:
        number = frame.f_lineno
        site, binds = self._statements.get(number) or Statement(Site(frame.f_code.co_filename, number, number))
        line = self._line
        if line is not None and line.site.line == site.line:
            return  # the same statement goes on over its next line
        self._end_line(frame)
        definition = Site(frame.f_code.co_filename, frame.f_code.co_firstlineno)
        self._binds = binds
        self._line = self._recording.enter(
            schema.LINE, self._call.name, self._type, owner=self._call.owner, site=site, definition=definition
        )

    def _end_line(self, frame: FrameType, raised: bool = False) -> None:
        """Close the line that ran and record the locals it bound."""
        line, self._line = self._line, None
        if line is None:
            return
        now = dict(frame.f_locals)
        bound = {n: v for n, v in now.items() if n in self._binds or self._names.get(n) is not v}
        self._names = now
        self._recording.see(line.step, schema.LOCAL, _visible(bound))
        self._recording.leave(line, raised=raised)

    def _return(self, frame: FrameType, result: Any) -> None:
        self._end_line(frame, self._raised)
        if self._call.equations:
            self._call.values = self._names
        self._names = {}
        if self._call.kind is schema.FUNCTION:
            self._recording.leave(self._call, result, raised=self._raised and result is None)


def _visible(names: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if not name.startswith("__")}
