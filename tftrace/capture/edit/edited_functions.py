"""Functions whose results are edited: each is replaced, where the code of a module looks it up, by one that edits."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch

from ..patches import Layer, Patch
from ..torch_internals import FORWARD_HOOKS, FORWARD_PRE_HOOKS
from .edit_targets import Holder, Target, holders

Change = Callable[[Target, Any], Any]
Around = Callable[..., Any]


class _Running(threading.local):
    """The modules whose functions are edited that run in this thread, innermost last."""

    def __init__(self) -> None:
        self.targets: list[torch.nn.Module] = []


class EditedFunctions:
    """Functions that some modules call, with edited results.

    Args:
        targets: The functions, by the modules that call them.
        change: Makes of a result the one that takes its place.

    Attributes:
        around: Runs a function as a step: called with what runs it, the function and its arguments. By default it is
            only run.
    """

    def __init__(self, targets: Sequence[Target], change: Change) -> None:
        self._targets, self._change = list(targets), change
        self._running = _Running()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._tables: list[Holder] = []
        self._patches: list[Patch] = []
        self.around: Around = lambda inner, function, args, kwargs: inner(*args, **kwargs)

    def attach(self) -> None:
        """Replace the functions."""
        for module in self._modules():
            self._handles.append(module.register_forward_pre_hook(_Hook(self._enter)))
            self._handles.append(module.register_forward_hook(_Hook(self._leave), always_call=True))
        wanted = {target.function for target in self._targets}
        for module in {id(target.module): target.module for target in self._targets}.values():
            for holder in holders(module):
                if holder.function.__name__ not in wanted:
                    continue
                if not isinstance(holder.place, MutableMapping):
                    self._patches.append(patch := _patch(holder))
                    patch.put(self)
                elif not any(one.place is holder.place and one.key == holder.key for one in self._tables):
                    self._tables.append(holder)
                    holder.place[holder.key] = self._replaced(holder.function)

    def detach(self) -> None:
        """Put the functions back."""
        for patch in self._patches:
            patch.take(self)
        for holder in self._tables:
            _restore(holder)
        self._patches, self._tables = [], []
        while self._handles:
            self._handles[-1].remove()
            self._handles.pop()
        for module in self._modules():
            for name in (FORWARD_HOOKS, FORWARD_PRE_HOOKS):
                hooks = module.__dict__.get(name, {})
                for key in [key for key, one in hooks.items() if isinstance(one, _Hook) and one.owner is self]:
                    hooks.pop(key, None)

    def _modules(self) -> list[torch.nn.Module]:
        """The modules that call them, and those in these, which may call functions of the same name."""
        return list(dict.fromkeys(below for target in self._targets for below in target.module.modules()))

    def _enter(self, module: torch.nn.Module) -> None:
        self._running.targets.append(module)

    def _leave(self, module: torch.nn.Module) -> None:
        while self._running.targets and self._running.targets.pop() is not module:
            pass  # one that an interruption left

    def _replaced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def changed(*args: Any, **kwargs: Any) -> Any:
            return self.run(function, function, *args, **kwargs)

        return changed

    def run(self, inner: Callable[..., Any], function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `inner`, which runs the function, and edit its result if a module calls it whose function is edited."""
        running = self._running.targets
        target = next(
            (t for t in self._targets if running and t.module is running[-1] and t.function == function.__name__), None
        )
        if target is None:
            return inner(*args, **kwargs)

        def edited(*args: Any, **kwargs: Any) -> Any:
            result = inner(*args, **kwargs)
            new = self._change(target, result)
            return result if new is None else new

        return self.around(edited, function, args, kwargs)


_PATCHES: dict[tuple[int, str], Patch] = {}  # by what holds a function, which the patch keeps, and its name there


def _patch(holder: Holder) -> Patch:
    """The patch of a function in a module of Python or in a class."""
    key = (id(holder.place), holder.key)
    if key not in _PATCHES:
        _PATCHES[key] = Patch(holder.place, holder.key, _edits)
    return _PATCHES[key]


def _edits(layer: Layer) -> Callable[..., Any]:
    """Make the replacement of a function: it runs the original, and each of its holders edits the result."""
    function = layer.original

    @functools.wraps(function)
    def changed(*args: Any, **kwargs: Any) -> Any:
        inner = function
        for functions in layer.watching():
            inner = functools.partial(functions.run, inner, function)
        return inner(*args, **kwargs)

    return changed


def _restore(holder: Holder) -> None:
    """Let a function be found in its table again; a table that overrides a wider one for itself stops doing so."""
    table, key = holder.place, holder.key
    if table.get(key) is not holder.function:
        table.pop(key, None)
        if table.get(key) is not holder.function:
            table[key] = holder.function


class _Hook:
    """Notes that a module runs; a copy of the model gets one that does nothing."""

    def __init__(self, note: Callable[[torch.nn.Module], None]) -> None:
        self._note, self.owner = note, getattr(note, "__self__", None)

    def __call__(self, module: torch.nn.Module, *_: Any) -> None:
        self._note(module)

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()


def _nothing(*_: Any) -> None:
    """What a copy of a hook does."""
