"""Equations that only pass tensors on.

`n = m` holds if both are the same numbers in the same memory; then nothing has to be read. The split of a projection
into heads is such a view."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ...recipes.evaluate.fitting import Fit
from ...recipes.evaluate.plan import Statement
from ...recipes.formula.nodes import Name
from ..measure.plain_memory import address
from .strided import Steps, steps

Strides = tuple[int, ...]


class Passed:
    """The pairs of tensors that an equation says are the same; none if it says anything else as well.

    Attributes:
        cells: The number of cells about which it says something.
    """

    def __init__(self, fit: Fit) -> None:
        self._pairs: list[tuple[str, Steps, str, Steps]] = []
        self.cells = 0
        for statement in fit.plan.statements:
            match statement:
                case Statement(symbol, Name(name)) if name in fit.layouts:
                    own, other = fit.layouts[symbol], fit.layouts[name]
                    long = [dim for dim in own.names if fit.sizes[dim] > 1]
                    if set(long) == {dim for dim in other.names if fit.sizes[dim] > 1}:
                        pair = symbol, steps(own, long, fit.sizes), name, steps(other, long, fit.sizes)
                        self._pairs.append(pair)
                        self.cells += math.prod(fit.sizes[dim] for dim in long)
                        continue
            self._pairs, self.cells = [], 0
            return

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether all pairs are the same; false if there are none."""
        return bool(self._pairs) and all(
            tensors[symbol] is tensors[name] or _same(tensors[symbol], own, tensors[name], other)
            for symbol, own, name, other in self._pairs
        )

    def pairs(self, strides: Mapping[str, Strides]) -> list[tuple[str, str]]:
        """The pairs, if with these strides they are the same whenever their addresses are; else none."""
        fitting = all(_alike(strides[symbol], own, strides[name], other) for symbol, own, name, other in self._pairs)
        return [(symbol, name) for symbol, _, name, _ in self._pairs] if fitting else []


def _same(one: torch.Tensor, own: Steps, two: torch.Tensor, other: Steps) -> bool:
    """Whether two tensors are views of the same numbers along each dimension."""
    if one.layout is not torch.strided or two.layout is not torch.strided or one.dtype is not two.dtype:
        return False
    place = address(one)
    if not place or place != address(two) or one.is_neg() or two.is_neg():
        return False
    return _alike(one.stride(), own, two.stride(), other)


def _alike(strides: Strides, own: Steps, others: Strides, other: Steps) -> bool:
    return all(
        strides[axis] * taken == others[beside] * more for (axis, taken), (beside, more) in zip(own, other, strict=True)
    )
