"""A run of another program, of which only named arrays are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .alignment.side import Made, Side
from .foreign_dump import NamedTensor

_FLOATS = ("float", "bfloat")


class DumpSide(Side):
    """The arrays of a dump in its order; those of whole numbers (ids, positions) are left out.

    Reading their statistics reads every array once."""

    def __init__(self, tensors: Sequence[NamedTensor]) -> None:
        floats = [one for one in tensors if one.dtype.startswith(_FLOATS)]
        self._sources = dict(enumerate(floats))
        super().__init__([_made(number, one) for number, one in self._sources.items()])

    def _load(self, made: Made) -> np.ndarray:
        return self._sources[made.number].load()


def _made(number: int, tensor: NamedTensor) -> Made:
    numbers = tensor.load()
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    statistics = (np.nan,) * 5
    if finite.size:
        length = float(np.sqrt(np.dot(finite, finite)))
        statistics = (float(finite.mean()), float(finite.std()), float(finite.min()), float(finite.max()), length)
    odd = numbers.size - finite.size
    return Made(number, number, 0, tensor.name, tensor.shape, tensor.dtype, statistics, odd, None, tensor.name)
