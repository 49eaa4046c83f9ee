"""The drawn cells of a tensor on the host, as a view of its memory: along each dimension they lie in equal steps, so
that from call to call only the address differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numkong import from_pointer

from ..recipes.dims import Layout
from ..recipes.value import Array
from .numbers import KINDS

# for each named dimension an axis of the tensor, and how many of its steps it takes
Steps = tuple[tuple[int, int], ...]

_BFLOAT16 = "uint16", np.dtype(np.uint16)
_MOST_FORMS = 64  # remembered of a tensor


def steps(layout: Layout, dims: Iterable[str], sizes: Mapping[str, int]) -> Steps:
    """Where these dimensions lie in a tensor of this layout."""
    found: dict[str, tuple[int, int]] = {}
    for axis, names in enumerate(layout.axes):
        taken = 1
        for name in reversed(names or ()):
            found[name] = axis, taken
            taken *= sizes[name]
    return tuple(found[dim] for dim in dims)


class Drawn(NamedTuple):
    """`cells` of the positions along a dimension, `apart` from each other; the first is one of `room`."""

    room: int
    apart: int
    cells: int

    def at(self, start: int) -> Array:
        """The positions from a first one on."""
        return start + self.apart * np.arange(self.cells)


class _Form(NamedTuple):
    """What the strides of a tensor settle."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in bytes
    span: int  # elements from the first cell to the last
    starts: tuple[tuple[int, int], ...]  # place among the drawn dimensions, bytes from one position to the next


class Strided:
    """How the drawn cells of one tensor of an equation are read, settled once for many calls."""

    def __init__(
        self, layout: Layout, sizes: Mapping[str, int], drawn: Mapping[str, Drawn], dtype: torch.dtype
    ) -> None:
        places = {dim: place for place, dim in enumerate(drawn)}
        whole = {dim: Drawn(1, 1, sizes[dim]) for dim in layout.names}
        self._axes = steps(layout, layout.names, sizes)
        self._drawn = [(drawn.get(dim, whole[dim]), places.get(dim)) for dim in layout.names]
        self._dtype, (self._name, self._kind) = dtype, KINDS.get(dtype, _BFLOAT16)
        self._forms: dict[tuple[int, ...], _Form] = {}

    def __call__(self, tensor: torch.Tensor, starts: Sequence[int]) -> Array | None:
        """The cells from these first positions on, to be copied at once; None where they must be had otherwise."""
        if not tensor.is_cpu or tensor.layout is not torch.strided or tensor.is_neg():
            return None
        address = tensor.data_ptr()
        if not address:
            return None
        stride = tensor.stride()
        form = self._forms.get(stride)
        if form is None:
            form = self._settle(stride)
        for place, step in form.starts:
            address += starts[place] * step
        found: Array = np.ndarray(form.shape, self._kind, from_pointer(address, form.span, self._name), 0, form.strides)
        if self._dtype is torch.bfloat16:  # the upper half of a float32
            found = np.left_shift(found, 16, dtype=np.uint32).view(np.float32)
        return found

    def _settle(self, stride: tuple[int, ...]) -> _Form:
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        width, shape, strides, starts, span = self._kind.itemsize, [], [], [], 1
        for (axis, taken), (drawn, place) in zip(self._axes, self._drawn, strict=True):
            step = stride[axis] * taken
            shape.append(drawn.cells)
            strides.append(step * drawn.apart * width)
            span += (drawn.cells - 1) * drawn.apart * step
            if place is not None:
                starts.append((place, step * width))
        form = self._forms[stride] = _Form(tuple(shape), tuple(strides), span, tuple(starts))
        return form
