"""Records the gradients of a backward pass: those of what modules returned, and those of their parameters.

No hook is put on a module, nor on a tensor that it returned. The node of the graph that made the tensor reports the
gradient before anything is computed from it, and a parameter reports when a gradient has been accumulated in it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..calls import Call
from ..measure.structure import leaves
from ..recording import Recording
from .watched_modules import own_parameters

_Where = tuple[int, str]  # a step and its name


class _Parameter:
    """A watched parameter, and the modules that own it: several, if weights are tied."""

    def __init__(self, parameter: torch.Tensor) -> None:
        self.is_alive = weakref.ref(parameter)
        self.owners: dict[int, str] = {}  # id of a module -> the name of the parameter there
        self.handle: Any = None


class Gradients:
    """Watches the backward passes of one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._parameters: dict[int, _Parameter] = {}
        self._handles: list[Any] = []  # hooks on leaves of the graph that a module returned
        self._called: dict[int, tuple[int, _Where]] = {}  # the latest forward of each module, and its first step there

    def watch(self, call: Call, result: Any) -> None:
        """Begin to watch for the gradients of a module call that has returned."""
        if call.muted or not torch.is_grad_enabled():
            return
        where = call.step, call.name
        tensor: Any
        for path, tensor in leaves(result):
            with contextlib.suppress(RuntimeError, AttributeError):  # some kinds of tensors do not tell their graph
                if tensor.grad_fn is not None:
                    told = partial(self._of_outputs, where, path, tensor.output_nr)
                    tensor.grad_fn.register_prehook(told)
                elif tensor.requires_grad and not isinstance(tensor, torch.nn.Parameter):
                    self._handles.append(tensor.register_hook(partial(self._of_leaf, where, path)))
        module = call.owner
        wanted = {name: p for name, p in own_parameters(module).items() if p.requires_grad and p.is_leaf}
        if wanted:
            latest = self._called.get(id(module))
            if latest is None or latest[0] != call.forward:
                self._called[id(module)] = call.forward, where
            for name, parameter in wanted.items():
                self._own(parameter).owners[id(module)] = name

    def leave_out(self, begun: Any) -> None:
        """Note that a forward is not recorded: the next gradients of its parameters belong to it.

        Args:
            begun: The model that runs it, or the code of a function, whose models are not known.
        """
        if not isinstance(begun, torch.nn.Module):
            self._called.clear()
        elif self._called:
            for module in begun.modules():
                self._called.pop(id(module), None)

    def close(self) -> None:
        """Stop watching, even if a graph is still alive."""
        for known in self._parameters.values():
            if known.handle is not None:
                known.handle.remove()
        for handle in self._handles:
            handle.remove()
        self._parameters.clear()
        self._handles.clear()
        self._called.clear()

    def _own(self, parameter: torch.Tensor) -> _Parameter:
        known = self._parameters.get(id(parameter))
        if known is None or known.is_alive() is not parameter:
            known = self._parameters[id(parameter)] = _Parameter(parameter)
            accumulated = partial(self._accumulated, known)
            watched: Any = parameter
            known.handle = watched.register_post_accumulate_grad_hook(accumulated)
        return known

    def _of_outputs(self, where: _Where, path: str, at: int, gradients: Sequence[torch.Tensor | None]) -> None:
        gradient = gradients[at]
        if gradient is not None:
            self._recording.hook(self._recording.see_gradient, *where, path, gradient, False)

    def _of_leaf(self, where: _Where, path: str, gradient: torch.Tensor) -> None:
        self._recording.hook(self._recording.see_gradient, *where, path, gradient, False)

    def _accumulated(self, known: _Parameter, parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            self._recording.hook(self._of_parameter, known, parameter.grad)

    def _of_parameter(self, known: _Parameter, gradient: torch.Tensor) -> None:
        called = [(*self._called[owner], name) for owner, name in known.owners.items() if owner in self._called]
        latest = max((forward for forward, _, _ in called), default=0)
        for forward, where, name in called:
            if forward == latest:
                self._recording.see_gradient(*where, name, gradient, True)
