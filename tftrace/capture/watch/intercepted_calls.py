"""The engine `calls`: sees each call of a module in the one place that all of them go through.

During a recording, `torch.nn.Module._call_impl` is replaced. The modules themselves stay untouched, so that it serves
where hooks would change the run or miss calls (`engine`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch

from ..calls import Call
from ..depth import back_to, take, taken
from ..patches import Layer, Patch, take_all
from ..quick.quick_calls import quick_steps
from ..torch_internals import CALL_IMPL, COPIES, FORWARD_HOOKS, forward_pre_hooks, getframe
from .watched_modules import BETWEEN, Watched, WatchedModules, walk

BETWEEN.add(__file__)


class InterceptedCalls(WatchedModules):
    """Watches the calls of models by intercepting all calls of modules."""

    _run_frames = 1  # Python frames that `run` takes
    frames = _run_frames  # Python frames that each call takes beyond those without a recording

    def attach(self) -> None:
        """Begin to watch the models."""
        super().attach()
        self._recording.quicken(quick_steps(self._recording))
        self.frames = self._run_frames + (self.on_module is not None)
        CALLS_OF_MODULES.put(self)

    def detach(self) -> None:
        """Stop watching; torch is left as it was."""
        super().detach()
        self._recording.quicken(None)
        CALLS_OF_MODULES.take(self)

    def find(self, module: torch.nn.Module) -> Watched | None:
        """Find the record of a called module; None if it belongs to no recorded model."""
        watched = self._by_hooks.get(id(module.__dict__.get(FORWARD_HOOKS)))
        if watched is not None:
            return watched
        stack = self._recording.stack
        running = stack[-1].owner if stack else None
        for path, below in walk("", running, ()) if isinstance(running, torch.nn.Module) else ():
            if below is module:
                above = self.watched.get(id(running))
                for name in above.names if above is not None else ():
                    self.adopt(f"{name}.{path}".lstrip("."), module)
        return self.watched.get(id(module))

    def run(
        self, inner: Callable[..., Any], module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `inner`, which calls the module, as a step of the recording."""
        recording = self._recording
        if recording.over or recording.busy:
            return inner(module, *args, **kwargs)
        watched = self.watched.get(id(module)) or recording.hook(self.find, module)
        if watched is None:
            return inner(module, *args, **kwargs)
        if forward_pre_hooks(module):
            return self._after_pre_hooks(watched, inner, module, args, kwargs)
        call = recording.hook(self.enter, watched, module, args, kwargs, getframe(1))
        if call is None:
            return inner(module, *args, **kwargs)
        if self.on_module is not None:
            return self._told(call, inner, module, args, kwargs)
        try:
            result = inner(module, *args, **kwargs)
        except BaseException:
            recording.hook(self.leave, call, None, True)
            raise
        recording.hook(self.leave, call, result, False)
        return result

    def _after_pre_hooks(
        self, watched: Watched, inner: Callable[..., Any], module: torch.nn.Module, args: Any, kwargs: Any
    ) -> Any:
        """Run a module with pre-hooks, which may change its arguments; our hook, the last, sees the final ones."""
        calls: list[Call | None] = []
        frame, thread = getframe(2), threading.get_ident()
        told = self.on_module or (lambda module, entering: None)

        # Another thread may have fetched this hook and call it after its removal, then without kwargs.
        def last(hooked: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
            if hooked is module and not calls and threading.get_ident() == thread:
                calls.append(self._recording.hook(self.enter, watched, module, args, kwargs or {}, frame))
                told(module, True)

        def left(result: Any, raised: bool) -> None:
            if calls:
                told(module, False)
                if calls[0] is not None:
                    self._recording.hook(self.leave, calls[0], result, raised)

        handle = module.register_forward_pre_hook(last, with_kwargs=True)
        try:
            result = inner(module, *args, **kwargs)
        except BaseException:
            left(None, True)
            raise
        finally:
            handle.remove()
        left(result, False)
        return result

    def _told(self, call: Call, inner: Callable[..., Any], module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        assert self.on_module is not None
        self.on_module(module, True)
        try:
            result = inner(module, *args, **kwargs)
        except BaseException:
            self.on_module(module, False)
            self._recording.hook(self.leave, call, None, True)
            raise
        self.on_module(module, False)
        self._recording.hook(self.leave, call, result, False)
        return result


def _forked() -> None:
    """End all recordings in a forked process: the files are the parent's, and other threads may have held locks."""
    for hooks in CALLS_OF_MODULES.holders:
        hooks.end()
    take_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _calls(layer: Layer) -> Callable[..., Any]:
    """Make the replacement of `_call_impl`: it runs the original as a step of each recording."""
    original = layer.original

    def _call_impl(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            return original(module, *args, **kwargs)
        watching = layer.watching()
        frames, more = 1, bool(forward_pre_hooks(module)) + (len(watching) > 1)
        for hooks in watching:
            frames += hooks.frames + more
        before = taken()
        try:
            take(frames)
            if len(watching) == 1:
                return watching[0].run(original, module, args, kwargs)
            inner = original
            for hooks in watching:
                inner = _nested(hooks, inner)
            return inner(module, *args, **kwargs)
        finally:
            back_to(before)

    return _call_impl


CALLS_OF_MODULES = Patch(torch.nn.Module, CALL_IMPL, _calls, copies=[(copy.module, copy.name) for copy in COPIES])


def _nested(hooks: InterceptedCalls, inner: Callable[..., Any]) -> Callable[..., Any]:
    return lambda module, *args, **kwargs: hooks.run(inner, module, args, kwargs)
