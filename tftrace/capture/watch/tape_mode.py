"""Feeds the tape (`capture.seen`): sees torch's functions while code runs that no known library defines.

Where transformers' own code runs the mode is off, and so is what it costs: recipes state what that code computes."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol, cast

import torch

from ..recording import Recording
from ..seen.function_kinds import IN_PLACE, KINDS
from ..seen.tape import Tape
from .modes import WatchingMode, may_be_fused

_STATED = ("transformers",)  # libraries whose every module has recipes that name it
_PASSING = ("torch",)  # those whose code is part of what calls it


class _Thread(threading.local):
    """Whether the mode is on in this thread, and whether it was before each module that runs now."""

    def __init__(self) -> None:
        self.on = False
        self.before: list[bool] = []


class Remarks(Protocol):
    """What is told of modules while the tape runs, and forgets all when a forward ends."""

    def on_module(self, module: torch.nn.Module, entering: bool) -> None: ...
    def clear(self) -> None: ...


class TapeMode(WatchingMode):
    """Tells the tape of each function that it knows; pushed on the thread's modes while a forward runs."""

    def __init__(self, recording: Recording, tape: Tape, remarks: Remarks) -> None:
        super().__init__()
        self._recording, self._tape, self._remarks = recording, tape, remarks
        self._thread = _Thread()
        self._closed = False

    def start(self) -> bool:
        """A forward begins in this thread."""
        self._turn(True)
        return True

    def stop(self) -> None:
        """The forward has ended."""
        self._turn(False)
        self._remarks.clear()

    def close(self) -> None:
        """End for all threads."""
        self._closed = True
        self.stop()

    def on_module(self, module: torch.nn.Module, entering: bool) -> None:
        """Stand aside while a known library's code runs, and where a mode would switch torch's fused path off."""
        thread = self._thread
        if not entering:
            if thread.on:
                self._recording.hook(self._tell, module, False)
            if thread.before and thread.before.pop() != thread.on:
                self._turn(not thread.on)
            return
        thread.before.append(thread.on)
        wanted = thread.on if (own := is_own(module)) is None else own
        wanted = wanted and not may_be_fused(module) and bool(self._recording.stack)
        if wanted != thread.on:
            self._turn(wanted)
        if wanted:
            self._recording.hook(self._tell, module, True)

    def _tell(self, module: torch.nn.Module, entering: bool) -> None:
        try:
            self._remarks.on_module(module, entering)
        except Exception:  # a module of a kind nobody thought of
            self._remarks.clear()

    def _turn(self, on: bool) -> None:
        if on and self._closed:
            return
        self._thread.on = on
        super().start() if on else super().stop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recording = self._recording
        if func not in KINDS or recording.busy or recording.over or torch.compiler.is_dynamo_compiling():
            return func(*args, **kwargs)
        given = recording.hook(self._given, func, args, kwargs) if func in IN_PLACE or "out" in kwargs else None
        result = func(*args, **kwargs)
        made = args[0] if func is torch.Tensor.__setitem__ else result
        recording.hook(self._note, func, args, kwargs, given, made)
        return result

    def _given(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        stack = self._recording.stack
        try:
            return self._tape.given(func, args, kwargs, stack[-1].step) if stack else None
        except Exception:  # a tensor of a kind nobody thought of
            return None

    def _note(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: tuple[Any, ...] | None, result: Any
    ) -> None:
        stack = self._recording.stack
        if not stack or stack[-1].muted:
            return
        step = stack[-1].step
        try:
            self._tape.note(func, given or self._tape.given(func, args, kwargs, step), result, step)
        except Exception:
            self._tape.clear()


def any_own(modules: Iterable[torch.nn.Module]) -> bool:
    """Whether one of these runs code that no known library defines."""
    return any(is_own(module) for module in modules)


def is_own(module: torch.nn.Module) -> bool | None:
    """Whether the code of a module is no known library's; None for torch's, which is part of what calls it."""
    forward = module.__dict__.get("forward")
    if forward is not None and not _of(inspect.unwrap(forward), ("accelerate", *_STATED, *_PASSING)):
        return True
    return _is_own(cast(Any, type(module)))


@lru_cache(maxsize=4096)
def _is_own(kind: type) -> bool | None:
    made = next((base for base in kind.__mro__ if "forward" in vars(base)), kind)
    return None if _of(made, _PASSING) else not _of(made, _STATED)


def _of(defined: Any, libraries: tuple[str, ...]) -> bool:
    return str(getattr(defined, "__module__", "")).partition(".")[0] in libraries
