"""Equations that only pass tensors on: `n = m` holds where both are the same numbers at the same place of memory, and
then there is nothing to read. The split of a projection into heads is such a view."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ..recipes.nodes import Name
from ..recipes.plan import Fit, Statement
from .strided import Steps, steps


class Passed:
    """What an equation passes on: pairs of tensors that are to be the same, if it says nothing else."""

    def __init__(self, fit: Fit) -> None:
        self._pairs: list[tuple[str, Steps, str, Steps]] = []
        self.cells = 0  # about which it says something
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
        """Whether all pairs are the same."""
        if not self._pairs:
            return False
        for symbol, own, name, other in self._pairs:
            one, two = tensors[symbol], tensors[name]
            if one is not two and not _same(one, own, two, other):
                return False
        return True


def _same(one: torch.Tensor, own: Steps, two: torch.Tensor, other: Steps) -> bool:
    """Whether two tensors are views of the same numbers, dimension by dimension."""
    if one.layout is not torch.strided or two.layout is not torch.strided or one.dtype is not two.dtype:
        return False
    place = one.data_ptr()
    if not place or place != two.data_ptr() or one.is_neg() or two.is_neg():
        return False
    strides, others = one.stride(), two.stride()
    for (axis, taken), (beside, more) in zip(own, other, strict=True):
        if strides[axis] * taken != others[beside] * more:
            return False
    return True
