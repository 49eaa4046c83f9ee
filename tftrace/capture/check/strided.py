"""Reads the drawn cells of a tensor on the host as a view of its memory.

Along each dimension they lie at equal distances, so that only the address differs from call to call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...recipes.evaluate.value import Array
from ...recipes.formula.dims import Layout
from ..measure.plain_memory import host_address, memory
from .host_arrays import KINDS

# for each named dimension, an axis of the tensor, and how many positions of that axis make one step
Steps = tuple[tuple[int, int], ...]

_BFLOAT16 = np.dtype(np.uint16)
_MOST_FORMS = 64  # forms that are remembered for a tensor


def steps(layout: Layout, dims: Iterable[str], sizes: Mapping[str, int]) -> Steps:
    """Find named dimensions in a tensor of this layout."""
    found: dict[str, tuple[int, int]] = {}
    for axis, names in enumerate(layout.axes):
        taken = 1
        for name in reversed(names or ()):
            found[name] = axis, taken
            taken *= sizes[name]
    return tuple(found[dim] for dim in dims)


class Drawn(NamedTuple):
    """The positions that are drawn along a dimension.

    Attributes:
        room: How many positions the first of them may have.
        apart: The distance from one to the next.
        cells: How many are drawn.
    """

    room: int
    apart: int
    cells: int

    def at(self, start: int) -> Array:
        """The positions, from the first one on."""
        return start + self.apart * np.arange(self.cells)


class Form:
    """How the drawn cells lie in memory, for tensors with certain strides.

    Args:
        drawn: For each dimension, what is drawn, and the index of its start among all starts; None if it has none.
        apart: For each dimension, the number of elements from one position to the next.
        dtype: The dtype of the tensor.
    """

    __slots__ = ("_half", "_kind", "_starts", "_strides", "_width", "dtype", "shape")

    def __init__(
        self,
        drawn: Sequence[tuple[Drawn, int | None]],
        apart: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self._kind = KINDS.get(dtype, _BFLOAT16)
        self._half = dtype is torch.bfloat16
        self.dtype = np.dtype(np.float32) if self._half else self._kind
        self._width = width = self._kind.itemsize
        self.shape = tuple(d.cells for d, _ in drawn)
        self._strides = tuple(step * d.apart * width for (d, _), step in zip(drawn, apart, strict=True))
        # index of the start, bytes from one position to the next
        self._starts = tuple(
            (place, step * width) for (_, place), step in zip(drawn, apart, strict=True) if place is not None
        )

    def at(self, address: int, starts: Sequence[int]) -> Array:
        """The cells of a tensor at this address, from these first positions on, for immediate use."""
        for place, step in self._starts:
            address += starts[place] * step
        found: Array = np.ndarray(self.shape, self._kind, memory(address), 0, self._strides)
        if self._half:  # the upper half of a float32
            found = np.left_shift(found, 16, dtype=np.uint32).view(np.float32)
        return found

    @property
    def numbers(self) -> list[int]:
        """What `at` uses, for the compiled `copy`.

        These are the bytes of an element, whether it becomes one of twice the size, and the bytes of all cells; then
        the number of starts, and the index and step of each; then the number of dimensions, their sizes and strides.
        """
        dims = [(n, step) for n, step in zip(self.shape, self._strides, strict=True) if n != 1] or [(1, 0)]
        starts = [number for start in self._starts for number in start]
        found = [self._width, self._half, math.prod(self.shape) * self.dtype.itemsize, len(self._starts), *starts]
        return [*found, len(dims), *(n for n, _ in dims), *(step for _, step in dims)]


class Strided:
    """How the drawn cells of one tensor of an equation are read, on all calls.

    Args:
        layout: The named dimensions of its axes.
        sizes: The size of each dimension.
        drawn: The dimensions along which positions are drawn.
        dtype: Its dtype.
        first: The index of the first of these dimensions among all starts.
    """

    def __init__(
        self, layout: Layout, sizes: Mapping[str, int], drawn: Mapping[str, Drawn], dtype: torch.dtype, first: int = 0
    ) -> None:
        places = {dim: place for place, dim in enumerate(drawn, start=first)}
        whole = {dim: Drawn(1, 1, sizes[dim]) for dim in layout.names}
        self._axes = steps(layout, layout.names, sizes)
        self._drawn = [(drawn.get(dim, whole[dim]), places.get(dim)) for dim in layout.names]
        self._dtype = dtype
        self._forms: dict[tuple[int, ...], Form] = {}

    def __call__(self, tensor: torch.Tensor, starts: Sequence[int]) -> Array | None:
        """The cells from these first positions on, for immediate use; None if they cannot be read in this way."""
        address = 0 if tensor.is_neg() else host_address(tensor)
        return self.form(tensor.stride()).at(address, starts) if address else None

    def form(self, stride: tuple[int, ...]) -> Form:
        """How the cells lie in a tensor with these strides."""
        form = self._forms.get(stride)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            apart = [stride[axis] * taken for axis, taken in self._axes]
            form = self._forms[stride] = Form(self._drawn, apart, self._dtype)
        return form
