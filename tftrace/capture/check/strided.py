"""Reads the drawn cells of a tensor as a view of its memory, on the host or on a device, where they are copied at once.

Along each dimension they lie at equal distances, so that only the address differs from call to call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ...recipes.evaluate.value import Array
from ...recipes.formula.dims import Layout
from ..measure.plain_memory import address as there
from ..measure.plain_memory import host_address, memory
from ..measure.stats import PLAIN
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
        before: How many elements lie before the first position of all dimensions.
    """

    __slots__ = ("_before", "_half", "_kind", "_starts", "_strides", "_width", "dtype", "shape")

    def __init__(
        self,
        drawn: Sequence[tuple[Drawn, int | None]],
        apart: Sequence[int],
        dtype: torch.dtype,
        before: int = 0,
    ) -> None:
        self._kind = KINDS.get(dtype, _BFLOAT16)
        self._half = dtype is torch.bfloat16
        self.dtype = np.dtype(np.float32) if self._half else self._kind
        self._width = width = self._kind.itemsize
        self._before = before * width
        self.shape = tuple(d.cells for d, _ in drawn)
        self._strides = tuple(step * d.apart * width for (d, _), step in zip(drawn, apart, strict=True))
        # index of the start, bytes from one position to the next
        self._starts = tuple(
            (place, step * width) for (_, place), step in zip(drawn, apart, strict=True) if place is not None
        )

    def at(self, addresses: Sequence[int], starts: Sequence[int]) -> Array:
        """The cells of a tensor at this address, from these first positions on, for immediate use."""
        return self._numbers(np.ndarray(self.shape, self._kind, self._memory(addresses[0], starts), 0, self._strides))

    def rows(self, address: int, starts: Sequence[int], count: int, apart: int, rows: Array) -> Array:
        """The same of some rows of a table of so many, which lie so many elements apart."""
        shape, strides = (count, *self.shape), (apart * self._width, *self._strides)
        return self._numbers(np.ndarray(shape, self._kind, self._memory(address, starts), 0, strides)[rows])

    def copy(self, tensor: torch.Tensor, starts: Sequence[int]) -> torch.Tensor:
        """The cells of a tensor on a device, copied there without waiting for it."""
        before = self._before + sum([starts[place] * step for place, step in self._starts])
        strides = [step // self._width for step in self._strides]
        return tensor.detach().as_strided(self.shape, strides, tensor.storage_offset() + before // self._width).clone()

    def _memory(self, address: int, starts: Sequence[int]) -> Any:
        return memory(address + self._before + sum([starts[place] * step for place, step in self._starts]))

    def _numbers(self, found: Array) -> Array:
        return np.left_shift(found, 16, dtype=np.uint32).view(np.float32) if self._half else found

    def column(self, tensor: int) -> list[int]:
        """What `at` uses, for the compiled `copy`; `tensor` is the index of the tensor.

        These are that index, the bytes of an element, whether it becomes one of twice the size, the bytes of all cells,
        and those before the first; then the number of starts, and the index and step of each; then the number of
        dimensions, their sizes and strides.
        """
        dims = [(n, step) for n, step in zip(self.shape, self._strides, strict=True) if n != 1] or [(1, 0)]
        starts = [number for start in self._starts for number in start]
        found = [tensor, self._width, self._half, math.prod(self.shape) * self.dtype.itemsize, self._before]
        found += len(self._starts), *starts, len(dims), *(n for n, _ in dims), *(step for _, step in dims)
        return found

    def step(self, apart: int) -> int:
        """So many elements in bytes."""
        return apart * self._width


class Positions:
    """The drawn positions of a dimension themselves, which are read from nothing.

    Args:
        drawn: What is drawn.
        place: The index of its start among all starts; None if it has none.
    """

    def __init__(self, drawn: Drawn, place: int | None) -> None:
        self._drawn, self._place = drawn, place
        self.shape, self.dtype = (drawn.cells,), np.dtype(np.int64)

    def __call__(self, _: Sequence[torch.Tensor], starts: Sequence[int]) -> Array:
        """The positions, from these first ones on."""
        return self._drawn.at(0 if self._place is None else starts[self._place]).astype(np.int64)

    at: Callable[..., Array] = __call__

    def form(self) -> Positions:
        """How they lie, whatever tensors there are."""
        return self

    def column(self) -> list[int]:
        """What `at` uses, for the compiled `copy`: -2, the start's index or -1, the distance, how many they are."""
        return [-2, -1 if self._place is None else self._place, self._drawn.apart, self._drawn.cells]


class RowsForm:
    """How the rows of a table lie in memory that the drawn cells of an index select.

    Args:
        row: How the first row lies.
        index: How the cells of the index lie.
        count: How many rows there are.
        apart: How many elements from one to the next.
    """

    __slots__ = ("_apart", "_count", "_index", "_row", "dtype", "shape")

    def __init__(self, row: Form, index: Form, count: int, apart: int) -> None:
        self._row, self._index, self._count, self._apart = row, index, count, apart
        self.shape, self.dtype = (*index.shape, *row.shape), row.dtype

    def at(self, addresses: Sequence[int], starts: Sequence[int]) -> Array:
        """The rows, for a table and an index at these addresses; IndexError if there are none of these numbers."""
        rows = self._index.at(addresses[1:], starts).astype(np.int64)
        return self._row.rows(addresses[0], starts, self._count, self._apart, rows)

    def column(self, table: int, index: int) -> list[int]:
        """What `at` uses, for the compiled `copy`: -1, the column of the index and that of the first row, the bytes of
        all cells, the bytes from row to row, and how many there are."""
        whole = math.prod(self.shape) * self.dtype.itemsize
        rest = whole, self._row.step(self._apart), self._count
        return [-1, *self._index.column(index), *self._row.column(table), *rest]


class Strided:
    """How the drawn cells of one tensor of an equation are read, on all calls.

    Args:
        layout: The named dimensions of its axes.
        sizes: The size of each dimension.
        drawn: The dimensions along which positions are drawn.
        dtype: Its dtype.
        first: The index of the first of these dimensions among all starts.
        fixed: A dimension of which one position is read, if there is one, and that position.
    """

    def __init__(
        self,
        layout: Layout,
        sizes: Mapping[str, int],
        drawn: Mapping[str, Drawn],
        dtype: torch.dtype,
        first: int = 0,
        fixed: tuple[str, int] | None = None,
    ) -> None:
        places = {dim: place for place, dim in enumerate(drawn, start=first)}
        whole = {dim: Drawn(1, 1, sizes[dim]) for dim in layout.names}
        names = [dim for dim in layout.names if fixed is None or dim != fixed[0]]
        self._axes = steps(layout, names, sizes)
        self._drawn = [(drawn.get(dim, whole[dim]), places.get(dim)) for dim in names]
        self._dtype = dtype
        self._forms: dict[tuple[int, ...], Form] = {}
        self._fixed = (*steps(layout, fixed[:1], sizes)[0], fixed[1]) if fixed else (0, 0, 0)

    def __call__(self, tensors: Sequence[torch.Tensor], starts: Sequence[int]) -> Array | torch.Tensor | None:
        """The cells from these first positions on, for immediate use; None if they cannot be read in this way."""
        address = _address(tensor := tensors[0])
        if address:
            return self.form(tensor.stride()).at([address], starts)
        if tensor.is_cpu or type(tensor) not in PLAIN or tensor.layout is not torch.strided or tensor.is_neg():
            return None
        return self.form(tensor.stride()).copy(tensor, starts) if there(tensor) else None

    def form(self, stride: tuple[int, ...]) -> Form:
        """How the cells lie in a tensor with these strides."""
        form = self._forms.get(stride)
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            apart, at = [stride[axis] * taken for axis, taken in self._axes], self._fixed[2]
            form = self._forms[stride] = Form(self._drawn, apart, self._dtype, at and at * self.apart(stride))
        return form

    def apart(self, stride: tuple[int, ...]) -> int:
        """How many elements it is from one position of the fixed dimension to the next."""
        axis, taken, _ = self._fixed
        return stride[axis] * taken


class Rows:
    """How the rows of a table are read that the drawn cells of an index select.

    Args:
        row: How its first row is read.
        index: How the cells of the index are read.
        count: How many rows it has.
    """

    def __init__(self, row: Strided, index: Strided, count: int) -> None:
        self._row, self._index, self._count = row, index, count

    def __call__(self, tensors: Sequence[torch.Tensor], starts: Sequence[int]) -> Array | None:
        """The rows, of a table and an index; None if they cannot be read in this way."""
        addresses = [_address(tensor) for tensor in tensors]
        if not all(addresses):
            return None
        return self.form(tensors[0].stride(), tensors[1].stride()).at(addresses, starts)

    def form(self, table: tuple[int, ...], index: tuple[int, ...]) -> RowsForm:
        """How they lie in tensors with these strides."""
        return RowsForm(self._row.form(table), self._index.form(index), self._count, self._row.apart(table))


def _address(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_neg() else host_address(tensor)
