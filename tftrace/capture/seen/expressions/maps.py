"""Linear maps on the tape: `x W^T + b`, by whichever function, and parts of one."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..proposal import Unfit, need
from ..tape import Made, Operand
from .activation import through
from .product import product
from .scale import is_weight, number

_FACTORS = ("alpha", "beta")


class Map(NamedTuple):
    """`x W^T + b`: what it is given, its weights with a row for each output, and its bias."""

    given: Operand
    weight: torch.Tensor
    bias: torch.Tensor | None
    since: int
    made: Made | None = None  # the result of the whole map
    by_channel: bool = False  # whether features come before positions, as a convolution of width 1 has them

    def part(self, first: int, size: int) -> Map:
        """The map to some of the outputs."""
        bias = None if self.bias is None else self.bias[first : first + size]
        return self._replace(weight=self.weight[first : first + size], bias=bias, made=None)


def linear_map_of(operand: Operand) -> Map | None:
    """The map that made a tensor, with the bias that was added to it; of a part of its outputs the part of the map."""
    made = through(operand, frozenset(("same",))).maker
    if made is None:
        return None
    if made.kind == "add":
        bias = _bias(made)
        inner = None if bias is None else linear_map_of(bias[0])
        if bias is None or inner is None or inner.bias is not None or inner.by_channel:
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
    if whole is None or whole.by_channel or given.shape[-1] % size:
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
    other = _OTHERS.get(made.kind)
    return None if other is None else other(made)


def _addmm(made: Made) -> Map | None:
    bias = made.get(0, "input")
    if not isinstance(bias, Operand) or len(bias.shape) != 1 or any(made.kwargs.get(k, 1) != 1 for k in _FACTORS):
        return None
    found = _by_matrix(made, made.get(1, "mat1"), made.get(2, "mat2"), turned=True)
    return None if found is None else found._replace(bias=_tensor(bias))


def _einsum(made: Made) -> Map | None:
    found = product(made)
    if found is None or len(summed := found.summed()) != 1:
        return None
    (left, right), (given, weight) = found.letters, found.operands
    if left[-1] != summed or len(right) != 2 or found.result != left[:-1] + right.replace(summed, ""):
        return None
    return _by_matrix(made, given, weight, turned=right[0] == summed)


def _conv1d(made: Made) -> Map | None:
    """A convolution of one position."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given, weight, bias, stride, padding, _, groups = (made.get(at, name) for at, name in enumerate(names))
    plain = stride in (None, 1, (1,), [1]) and padding in (None, 0, (0,), [0]) and groups in (None, 1)
    if not plain or not isinstance(weight, Operand) or weight.shape[-1] != 1:
        return None
    found = _by_matrix(made, given, weight, turned=False)
    if found is None or len(found.given.shape) != 3:
        return None
    return found._replace(weight=found.weight.squeeze(-1), bias=_tensor(bias), by_channel=True)


_OTHERS = {"addmm": _addmm, "einsum": _einsum, "conv1d": _conv1d}


def _by_matrix(made: Made, given: object, weight: object, turned: bool) -> Map | None:
    if not isinstance(given, Operand) or not isinstance(weight, Operand) or not is_weight(weight):
        return None
    matrix = need(weight.tensor)
    return Map(given, matrix.mT if turned else matrix, None, made.step, made)


def _tensor(operand: object) -> torch.Tensor | None:
    if operand is None:
        return None
    if not isinstance(operand, Operand) or number(operand) == 0:
        raise Unfit
    return need(operand.tensor)
