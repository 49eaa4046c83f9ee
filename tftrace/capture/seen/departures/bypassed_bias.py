"""Weights of a layer that are used past the layer, without its bias."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...calls import Call
from ...torch_internals import children_of, parameters_of
from ..expressions.maps import linear_map
from ..proposal import Proposal, Unfit, need
from ..tape import Made

_MOST = 256  # modules below the one that runs whose biases are looked up


class _Waiting(NamedTuple):
    """A product whose bias may still come."""

    call: Call
    proposal: Proposal
    bias: torch.nn.Parameter


class BypassedBiases:
    """Products with the weights of a layer below the module that runs, whose bias was not used since."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._biases: dict[int, dict[int, torch.nn.Parameter]] = {}  # by the ids of a module and of a weight below it

    def clear(self) -> None:
        """A forward has ended."""
        self._waiting.clear()
        self._biases.clear()

    def look(self, made: Made, call: Call) -> None:
        """A result is new: a product without a bias, or one that uses a bias that was waited for."""
        if self._waiting:
            used = {id(one.tensor) for one in made.operands if one.weight}
            self._waiting = [one for one in self._waiting if id(one.bias) not in used]
        if made.kind not in ("linear", "matmul") or not isinstance(call.owner, torch.nn.Module):
            return
        weights = [one for one in made.operands if one.weight]
        weight = weights[0].tensor if len(weights) == 1 else None
        bias = None if weight is None else self._below(call.owner).get(id(weight))
        if bias is None or made.get(2, "bias") is not None:
            return
        try:
            one = linear_map(made)
        except Unfit:
            return
        if one is None or one.weight.shape[0] != bias.shape[0]:
            return
        found = Proposal("linear-bias", made.step)
        found.tensors |= {"x": need(one.given.tensor), "W": one.weight, "b": bias, "out": need(made.result)}
        self._waiting.append(_Waiting(call, found, bias))

    def ended(self, call: Call) -> list[Proposal]:
        """A module is about to return: what of it has waited in vain."""
        found = [one.proposal for one in self._waiting if one.call is call]
        self._waiting = [one for one in self._waiting if one.call is not call]
        return found

    def _below(self, owner: torch.nn.Module) -> dict[int, torch.nn.Parameter]:
        """The biases of the layers below a module, not its own, by the ids of their weights."""
        found = self._biases.get(id(owner))
        if found is None:
            found = self._biases[id(owner)] = {}
            waiting = list(children_of(owner).values())
            for _ in range(_MOST):
                module = waiting.pop() if waiting else None
                if module is None:
                    continue
                waiting += children_of(module).values()
                weight, bias = (parameters_of(module).get(name) for name in ("weight", "bias"))
                if isinstance(module, torch.nn.Linear) and isinstance(bias, torch.nn.Parameter) and bias.any():
                    found[id(weight)] = bias
        return found
