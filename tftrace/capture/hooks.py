"""Forward hooks on every submodule: enter and leave of each module call.

They are registered last, so that they see what the next module gets, are always called, also when the forward
raises, and belong to one recording: removing them leaves the model as it was. They are plain functions, which a
deep copy of the model shares instead of copying the recording."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from .. import schema
from ..source import NOWHERE, Site, call_site, code_of
from ..writer import TraceWriter
from .calls import Call, Place, bind_arguments, place
from .recording import Recording

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_CALLING = torch_module.__file__
_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict)  # never called, so that nobody else looks into them


class Watched:
    """A module with our hooks, and what is settled before it is called."""

    def __init__(self, module: torch.nn.Module, name: str, muted: bool) -> None:
        self.module = module  # keeps its id from being used again
        self.names, self.muted = [name], muted
        self.type, self.forward = type(module).__name__, type(module).forward
        self.definition = defined(self.forward)
        self.places: dict[tuple[CodeType | None, int, str], Place] = {}
        self.last_forward = 0
        self.described = False  # whether its parameters have been written
        self.handles: list[Any] = []
        self.reach = _reach(module)


class ModuleHooks:
    """Hooks on models and all modules below them, for as long as the recording lasts."""

    def __init__(
        self,
        recording: Recording,
        writer: TraceWriter,
        models: Mapping[str, torch.nn.Module],
        selected: Callable[[str], bool],
        advance: Callable[[], None] | None = None,
    ) -> None:
        self._recording, self._writer, self._selected = recording, writer, selected
        self._advance = advance  # called after each module call, to show progress
        self._models = models
        self._roots = {id(model) for model in models.values()}
        self.watched: dict[int, Watched] = {}
        self.unseen: list[str] = []  # compiled by torch.jit, which takes no hooks
        self._scripted: dict[int, torch.nn.Module] = {}
        self._on = False

    def attach(self) -> None:
        """Register the hooks."""
        self._on = True
        for name, model in self._models.items():
            self.adopt(name, model)

    def remove(self) -> None:
        """Take every hook off again."""
        self._on = False
        while self.watched:
            for handle in self.watched.popitem()[1].handles:
                handle.remove()

    def adopt(self, name: str, module: torch.nn.Module) -> None:
        """Hook a module and all below it, of which the model may get new ones while it runs."""
        for path, below in _walk(name, module, ()):
            watched = self.watched.get(id(below))
            if isinstance(below, torch.jit.ScriptModule):
                if path not in self.unseen:
                    self.unseen.append(path)
                    self._scripted[id(below)] = below
            elif watched is None:
                muted = id(below) not in self._roots and not self._selected(path)
                watched = self.watched[id(below)] = Watched(below, path, muted)
                self._hook(watched)
            elif path not in watched.names:
                watched.names.append(path)

    def _hook(self, watched: Watched) -> None:
        def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._on:
                self._recording.hook(self._enter, watched, module, args, kwargs, sys._getframe(1))

        def after(module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            if self._on:
                self._recording.hook(self._leave, module, result)
                if self._recording.failure is not None and id(module) in self._roots:
                    self._recording.on_root(False)

        module = watched.module
        watched.handles = [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after, with_kwargs=True, always_call=True),
        ]

    def _enter(
        self,
        watched: Watched,
        module: torch.nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        frame: FrameType,
    ) -> None:
        recording = self._recording
        stack = recording.stack
        root = id(module) in self._roots
        if stack and (root or stack[0].owner is module):
            recording.drop_stale(frame)
        for children in watched.reach:
            for child in children.values():
                if id(child) not in self.watched and self._new(watched, module, child):
                    break
        if watched.muted:
            if stack:
                recording.mute(module)
            return
        if not stack and not root and torch._C._current_graph_task_id() != -1:
            recording.recompute(watched.last_forward)
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_filename == _CALLING:
            caller = caller.f_back
        name = watched.names[0] if len(watched.names) == 1 else self._name(watched.names, stack[-1] if stack else None)
        key = (None, 0, name) if caller is None else (caller.f_code, caller.f_lasti, name)
        where = watched.places.get(key) or self._place(watched, key, caller)
        arguments = bind_arguments(watched.forward, args, kwargs)
        call = recording.enter(where, module, arguments)
        call.body = code_of(module.forward) if "forward" in module.__dict__ else code_of(watched.forward)
        watched.last_forward = call.forward
        if call.parent is None:
            call.frame = frame
        if not watched.described:
            watched.described = True
            recording.see(call, schema.PARAMETER, own_parameters(module))

    def _leave(self, module: torch.nn.Module, result: Any) -> None:
        recording = self._recording
        for call in reversed(recording.stack):
            if call.owner is module and (call.muted or call.place.kind is schema.MODULE):
                error = sys.exc_info()[1] if result is None else None
                recording.leave(call, result, error is not None and error is not call.error)
                break
        if self._advance is not None:
            self._advance()

    def _place(self, watched: Watched, key: tuple[CodeType | None, int, str], caller: FrameType | None) -> Place:
        ours = caller is None or caller.f_code.co_filename.startswith(_OURS)
        site = NOWHERE if ours or caller is None else call_site(caller)
        self._writer.keep_source(site.file)
        self._writer.keep_source(watched.definition.file)
        where = place(schema.MODULE, key[2], watched.type, site, watched.definition)
        watched.places[key] = where
        return where

    def _new(self, watched: Watched, module: torch.nn.Module, child: torch.nn.Module | None) -> bool:
        """Hook a module that was not there when the recording began; copies of modules have the hooks already."""
        if child is None or id(child) in self._scripted or module is not watched.module:
            return False
        for name in tuple(watched.names):
            self.adopt(name, watched.module)
        watched.reach = _reach(watched.module)
        return True

    @staticmethod
    def _name(names: list[str], caller: Call | None) -> str:
        """Of several paths, the one below the module that is calling."""
        above = None if caller is None else caller.module
        while above is not None:
            below = [n for n in names if n.startswith(f"{above.name}." if above.name else "") and n != above.name]
            if below:
                return min(below, key=len)
            above = above.parent.module if above.parent is not None else None
        return names[0]


@lru_cache(maxsize=4096)
def defined(function: Callable[..., Any]) -> Site:
    """Where a function is defined; nowhere, if it is not Python."""
    code = code_of(function)
    return NOWHERE if code is None else Site(code.co_filename, code.co_firstlineno)


def _walk(
    name: str, module: torch.nn.Module, above: tuple[torch.nn.Module, ...]
) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every path to every module below; a module may stand under several, and even below itself."""
    yield name, module
    for key, child in module._modules.items():
        if child is not None and child is not module and all(child is not a for a in above):
            yield from _walk(f"{name}.{key}" if name else key, child, (*above, module))


def _reach(module: torch.nn.Module) -> list[dict[str, torch.nn.Module | None]]:
    """Where the modules stand that a module may call, those in containers of its own included."""
    found, waiting = [], [module]
    while waiting:
        at = waiting.pop()
        if at._modules:
            found.append(at._modules)
            waiting += [child for child in at._modules.values() if isinstance(child, _CONTAINERS)]
    return found


def own_parameters(module: torch.nn.Module) -> dict[str, Any]:
    """The parameters that stand in the module itself."""
    return {name: parameter for name, parameter in module._parameters.items() if parameter is not None}
