"""Feed-forward parts on the tape: two linear maps with an activation between them, or with a gate."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .activation import PASSING, activation, factors, same, through
from .proposal import Proposal, Unfit, need
from .scale import is_weight, number
from .scores import dropped
from .tape import Made, Operand


class Map(NamedTuple):
    """`x W^T + b`: what it is given, its weights with a row for each output, and its bias."""

    given: Operand
    weight: torch.Tensor
    bias: torch.Tensor | None
    since: int
    made: Made | None = None  # the result of the whole map

    def part(self, first: int, size: int) -> Map:
        """The map to some of the outputs."""
        bias = None if self.bias is None else self.bias[first : first + size]
        return self._replace(weight=self.weight[first : first + size], bias=bias, made=None)


def feedforward(made: Made) -> Proposal | None:
    """The feed-forward part that this map ends, if it does."""
    down = linear_map(made)
    if down is None:
        return None
    hidden = through(down.given)
    dry = _dry(down.given)
    plain = activation(hidden)
    up = None if plain is None else linear_map_of(plain[1])
    if plain is not None and up is not None:
        found = Proposal("feed-forward", up.since)
        _maps(found, up, "U", "b")
        found.values["A"] = plain[0]
    else:
        gated = _gated(hidden)
        if gated is None:
            return None
        name, up, gate = gated
        found = Proposal("gated-feed-forward", min(up.since, gate.since))
        _maps(found, up, "U", "b")
        _maps(found, gate, "G", "d")
        found.values["A"] = name
    _maps(found, down, "W", "c")
    found.tensors["x"] = need(up.given.tensor)
    found.tensors["g"] = need(down.given.tensor)
    found.tensors["h"] = found.tensors["g"] if dry is None else need(dry.result)
    found.tensors["out"] = need(made.result)
    return found


def _maps(found: Proposal, one: Map, weight: str, bias: str) -> None:
    found.tensors[weight] = one.weight
    if one.bias is None:
        found.values[bias] = 0.0
    else:
        found.tensors[bias] = one.bias


def _dry(operand: Operand) -> Made | None:
    """What made the hidden numbers, where some of them were dropped out since."""
    made, wet = operand.maker, False
    while made is not None and made.kind in PASSING:
        wet = wet or (made.kind == "dropout" and dropped(made))
        first = made.get(0, "input")
        made = first.maker if isinstance(first, Operand) else None
    return made if wet else None


def _gated(hidden: Operand) -> tuple[str, Map, Map] | None:
    """`act(x U) * (x G)`, in either order; the two may be parts of one map."""
    made = hidden.maker
    if made is None or made.kind != "mul":
        return None
    factor, parts = factors(made)
    if factor != 1 or len(parts) != 2:
        return None
    for one, other in (parts, parts[::-1]):
        plain, gate = activation(one), linear_map_of(other)
        name, given = plain if plain is not None else ("linear", one)
        up = linear_map_of(given)
        if up is not None and gate is not None and same(up.given, gate.given):
            return name, up, gate
    return None


def linear_map_of(operand: Operand) -> Map | None:
    """The map that made a tensor, with the bias that was added to it; of a part of its outputs the part of the map."""
    made = through(operand, frozenset(("same",))).maker
    if made is None:
        return None
    if made.kind == "add":
        bias = _bias(made)
        inner = None if bias is None else linear_map_of(bias[0])
        if bias is None or inner is None or inner.bias is not None:
            return None
        return inner._replace(bias=bias[1], made=made)
    if made.kind == "part" and "#" in made.kwargs and made.name in ("chunk", "split", "tensor_split"):
        return _part(made)
    return linear_map(made)


def _bias(made: Made) -> tuple[Operand, torch.Tensor] | None:
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    one, two = (one, two) if len(two.shape) == 1 else (two, one)
    tensor = two.tensor
    if len(two.shape) != 1 or tensor is None or one.shape[-1:] != two.shape:
        return None
    return one, tensor


def _part(made: Made) -> Map | None:
    given, dim = made.get(0, "input", made.get(0, "tensor")), made.get(2, "dim", 0)
    if not isinstance(given, Operand) or dim not in (-1, len(given.shape) - 1):
        return None
    whole, size = linear_map_of(given), made.shape[-1]
    if whole is None or given.shape[-1] % size:
        return None
    return whole.part(made.kwargs["#"] * size, size)._replace(made=made)


def linear_map(made: Made) -> Map | None:
    """A result as a linear map of a tensor by a matrix of weights."""
    if made.kind == "linear":
        given, weight, bias = (made.get(at, name) for at, name in enumerate(("input", "weight", "bias")))
        if not isinstance(given, Operand) or not isinstance(weight, Operand):
            return None
        return Map(given, need(weight.tensor), _tensor(bias), made.step, made)
    if made.kind == "matmul":
        given, weight = made.get(0, "input"), made.get(1, "other", made.kwargs.get("mat2"))
        if not isinstance(given, Operand) or not isinstance(weight, Operand) or len(weight.shape) != 2:
            return None
        if len(given.shape) < 1 or (weight.maker is not None and not is_weight(weight)):
            return None
        return Map(given, need(weight.tensor).mT, None, made.step, made)
    return None


def _tensor(operand: object) -> torch.Tensor | None:
    if operand is None:
        return None
    if not isinstance(operand, Operand) or number(operand) == 0:
        raise Unfit
    return need(operand.tensor)
