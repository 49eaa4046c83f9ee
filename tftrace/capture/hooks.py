"""Forward hooks on every submodule: enter and leave of each module call.

They are registered last, so that they see what the next module gets, are always called, also when the forward
raises, and belong to one recording: removing them leaves the model as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any

import torch

from .. import schema
from ..source import NOWHERE, Site, call_site, code_of
from .calls import Call, bind_arguments
from .recording import Recording

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_CALLING = os.path.join("torch", "nn", "modules", "module.py")


class ModuleHooks:
    """Hooks on `model` and all modules below it, for as long as the recording lasts."""

    def __init__(self, recording: Recording, model: torch.nn.Module, advance: Callable[[], None] | None = None) -> None:
        self._recording = recording
        self._advance = advance  # called after each module call, to show progress
        self._handles: list[Any] = []
        self._names: dict[int, list[str]] = {}
        self._modules: list[torch.nn.Module] = []  # keeps the ids of _names valid
        self.unseen: list[str] = []  # compiled by torch.jit, which takes no hooks
        for name, module in model.named_modules(remove_duplicate=False):
            if isinstance(module, torch.jit.ScriptModule):
                self.unseen.append(name)
            elif id(module) not in self._names:
                self._modules.append(module)
            self._names.setdefault(id(module), []).append(name)

    def attach(self) -> None:
        """Register the hooks."""
        for module in self._modules:
            self._handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True, always_call=True))

    def remove(self) -> None:
        """Take every hook off again."""
        while self._handles:
            self._handles.pop().remove()

    def _before(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._recording.from_hook(self._enter, module, args, kwargs, sys._getframe(1))

    def _after(self, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        self._recording.from_hook(self._leave, module, result)

    def _enter(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> None:
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_filename.endswith(_CALLING):
            caller = caller.f_back
        stack = self._recording.stack
        site = NOWHERE
        if caller is not None and not caller.f_code.co_filename.startswith(_OURS):
            site = call_site(caller)
        definition = defined(type(module).forward)
        self._recording.writer.keep_source(site.file)
        self._recording.writer.keep_source(definition.file)
        call = self._recording.enter(
            schema.MODULE,
            self.name_of(module, stack[-1] if stack else None),
            type(module).__name__,
            owner=module,
            site=site,
            definition=definition,
            arguments=bind_arguments(type(module).forward, args, kwargs),
        )
        call.body = code_of(module.forward)
        self._recording.see_parameters(call, module)

    def _leave(self, module: torch.nn.Module, result: Any) -> None:
        for call in reversed(self._recording.stack):
            if call.owner is module and call.kind is schema.MODULE:
                error = sys.exc_info()[1]
                raised = result is None and error is not None and error is not call.error
                self._recording.leave(call, result, raised)
                break
        if self._advance is not None:
            self._advance()

    def name_of(self, module: torch.nn.Module, caller: Call | None) -> str:
        """The module's path; of several, the one below the module that is calling it."""
        names = self._names[id(module)]
        if len(names) == 1 or caller is None:
            return names[0]
        above: Call | None = caller.call
        while above is not None and above.kind is not schema.MODULE:
            above = above.parent
        while above is not None:
            below = [n for n in names if n.startswith(f"{above.name}." if above.name else "") and n != above.name]
            if below:
                return min(below, key=len)
            above = above.parent
        return names[0]


@lru_cache(maxsize=4096)
def defined(function: Callable[..., Any]) -> Site:
    """Where a function is defined; nowhere, if it is not Python."""
    code = code_of(function)
    return NOWHERE if code is None else Site(code.co_filename, code.co_firstlineno)
