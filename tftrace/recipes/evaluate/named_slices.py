"""Takes cells of a tensor by the names of its dimensions, from a NumPy array or anything that behaves like one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..formula.analysis import named_dims
from ..formula.dims import Layout
from ..formula.language import FormulaError
from ..formula.nodes import Apply
from .value import MAX_CELLS, Array


class Slice:
    """Reshapes an array so that it has one axis per named dimension."""

    def __init__(self, layout: Layout, sizes: Mapping[str, int]) -> None:
        self.names = layout.names
        self.axes = tuple(enumerate(layout.names))
        index = tuple(0 if names is None else slice(None) for names in layout.axes)
        self.index = index if 0 in index else None
        self.shape = tuple(sizes[n] for n in layout.names) if any(len(a or ()) > 1 for a in layout.axes) else None

    def of(self, found: Any) -> Any:
        """A view of the array with one axis per named dimension."""
        found = found if self.index is None else found[self.index]
        return found if self.shape is None else found.reshape(self.shape)


def take(found: Any, slice_: Slice, drawn: Mapping[str, Array], along: Callable[..., Any] = np.take) -> Any:
    """Copy the drawn positions of an array.

    Args:
        found: the array, in its recorded shape.
        slice_: its named dimensions.
        drawn: positions along some of them; along the others all are taken.
        along: what takes positions along an axis, as `np.take` does.
    """
    found = slice_.of(found)
    whole = True
    for axis, name in slice_.axes:
        at = drawn.get(name)
        if at is not None:
            found, whole = along(found, at, axis), False
    return found if not whole else np.array(found) if isinstance(found, (np.ndarray, np.generic)) else found.clone()


def move_cells(
    found: Any,
    leaf: Apply,
    numbers: tuple[int, ...],
    dims: tuple[str, ...],
    sizes: Mapping[str, int],
    positions: Callable[[str], Array],
    places: Callable[[Any, Array, int], Any] | None = None,
) -> Any:
    """Apply `rename`, `window` or `unwindow` to the cells of a tensor.

    `window` gathers the cells that each position of a sliding window covers, `unwindow` those whose windows cover each
    position; a place beyond the ends gives 0.

    Args:
        found: the cells, one axis per dimension.
        leaf: the call.
        numbers: stride, padding and dilation of each window.
        dims: the dimensions of `found`.
        sizes: the size of each dimension.
        positions: gives the positions that are wanted along a new dimension.
        places: what takes places along an axis, as `take_padded` does.

    Raises:
        FormulaError: the sizes do not fit, or the result is too large.
    """
    names, step = named_dims(leaf), 2 if leaf.function == "rename" else 3
    for at, dim in enumerate(names[::step]):
        to, size, axis = names[at * step + 1], sizes[dim], dims.index(dim)
        where = positions(to)
        if step == 2:
            if sizes[to] != size:
                raise FormulaError(f"{to} is not as long as {dim}")
        else:
            stride, padding, dilation = numbers[at * 3 : at * 3 + 3]
            kernel = np.arange(sizes[names[at * 3 + 2]]) * dilation
            if leaf.function == "window":
                where = where[:, None] * stride + kernel - padding
            elif stride < 1:
                raise FormulaError(f"unwindow() cannot go {stride} positions from one window to the next")
            else:
                reached = where[:, None] + padding - kernel
                where = np.where(reached % stride == 0, reached // stride, -1)
        if math.prod(found.shape) // size * where.size > MAX_CELLS:
            raise FormulaError(f"{leaf.function}() needs more than {MAX_CELLS} cells at once")
        found = (places or take_padded)(found, where, axis)
        dims = (*dims[:axis], *names[at * step + 1 : at * step + step], *dims[axis + 1 :])
    return found


def take_padded(found: Array, places: Array, axis: int) -> Array:
    """Take places along an axis, 0 beyond its ends; the axis is replaced by the axes of `places`."""
    size = found.shape[axis]
    inside = (places >= 0) & (places < size)
    taken = found.take(places.clip(0, size - 1), axis)
    if not inside.all():
        taken[(slice(None),) * axis + (~inside,)] = 0
    return taken
