"""Records functions marked with `@traced`; `traced` calls `run` for each of their calls."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ...trace import schema
from ...trace.writer import TraceWriter
from ..calls import Call, Place, place
from ..code_site import NOWHERE, call_site, code_of
from ..depth import back_to, take, taken
from ..recording import Recording
from ..torch_internals import getframe
from .program import ProgramHooks
from .watched_modules import WatchedModules, defined

_OURS = str(Path(__file__).parents[2]) + os.sep
_FRAMES = 2  # Python frames of a call of a traced function, besides one for each recording
_active: list[Functions] = []


class Functions:
    """The traced functions of one recording.

    Attributes:
        follow: Begins to follow the lines of a function.
        wants: Whether calls of this code are steps.
    """

    def __init__(self, recording: Recording, writer: TraceWriter, hooks: WatchedModules) -> None:
        self._recording, self._writer = recording, writer
        self._program = hooks if isinstance(hooks, ProgramHooks) else None
        self._places: dict[Any, Place] = {}
        self.follow: Callable[[CodeType], None] = lambda code: None
        self.wants: Callable[[CodeType], bool] = lambda code: False

    def attach(self) -> None:
        """Begin to record calls."""
        _active.append(self)

    def detach(self) -> None:
        """Stop recording calls."""
        if self in _active:
            _active.remove(self)

    def run(
        self,
        inner: Callable[..., Any],
        function: Callable[..., Any],
        code: CodeType,
        frame: FrameType,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Call `inner`, which runs the function, as a step; `frame` is that of its caller."""
        recording, program = self._recording, self._program
        if recording.over or recording.busy:
            return inner(*args, **kwargs)
        if program is not None and not recording.stack:
            if not program.functions_begin():
                return inner(*args, **kwargs)
            if not recording.hook(program.wanted, code):
                return program.aside(inner, *args, **kwargs)
        call = recording.hook(self._enter, function, code, frame, args, kwargs)
        if call is None:
            return inner(*args, **kwargs)
        try:
            result = inner(*args, **kwargs)
        except BaseException:
            recording.hook(recording.leave, call, None, True)
            raise
        recording.hook(recording.leave, call, result)
        return result

    def around(
        self, inner: Callable[..., Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call `inner`, which runs a function and changes its result, as the step of the function, if it is one; its
        call site is three frames up."""
        code = code_of(function)
        if code is None or not self.wants(code):
            return inner(*args, **kwargs)
        return self.run(partial(_held, self._recording, inner), function, code, getframe(3), *args, **kwargs)

    def _enter(
        self, function: Callable[..., Any], code: CodeType, frame: FrameType, args: Any, kwargs: Any
    ) -> Call | None:
        stack = self._recording.stack
        if stack and stack[-1].muted:
            return None
        name = f"{stack[-1].call.name}.{code.co_name}".lstrip(".") if stack else code.co_name
        key = (name, code, frame.f_code, frame.f_lasti)
        where = self._places.get(key)
        if where is None:
            if not self.wants(code):
                self.follow(code)
            site = NOWHERE if frame.f_code.co_filename.startswith(_OURS) else call_site(frame)
            for file in (site.file, code.co_filename):
                self._writer.keep_source(file)
            kind = function.__qualname__.replace(".<locals>", "")
            where = self._places[key] = place(schema.FUNCTION, name, kind, site, defined(function))
        arguments = _signature(function).bind_partial(*args, **kwargs).arguments
        call = self._recording.enter(where, stack[-1].owner if stack else None, arguments)
        call.body = code
        return call


def _held(recording: Recording, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `inner`; the running step ends after it, and not with the frame of the function."""
    if recording.stack:
        recording.stack[-1].held = True
    return inner(*args, **kwargs)


def run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function as a step of each recording; the caller of our caller is its call site."""
    inner, code, frame = function, code_of(function), getframe(2)
    if code is not None:
        for functions in reversed(_active):  # the first of them is the outermost
            inner = partial(functions.run, inner, function, code, frame)
    before = taken()
    try:
        take(_FRAMES + len(_active))
        return inner(*args, **kwargs)
    finally:
        back_to(before)


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
