"""Numbers with named dimensions, and how far a run's own may be from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..formula.analysis import union
from ..formula.language import FormulaError

MAX_CELLS, MAX_PRODUCTS = 1 << 24, 1 << 30  # of one value, in one matrix product; a recipe may be a stranger's

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Numbers `v` with named dimensions and `e`, how far the run's own may be from them through rounding. `v` may be
    what was read, of another dtype (see `real`).

    What is added to a sum may have been the number that the sum began with: `begun` says how many units of that number
    its roundings may then be off, as long as that can be. Arithmetic of `whole` numbers (sizes, positions) is exact."""

    dims: tuple[str, ...]
    v: Array
    e: Array
    begun: Array | None = None
    whole: bool = False

    @property
    def exact(self) -> bool:
        """Whether there is no error; what is read from a run has one zero that stands for all."""
        if not self.e.size or self.e.item(0):
            return not self.e.size
        return not any(self.e.strides) or not self.e.any()


@lru_cache(maxsize=4096)
def zeros(shape: tuple[int, ...]) -> Array:
    """One zero that stands for all of a shape."""
    return np.broadcast_to(np.float64(0.0), shape)


def constant(value: float) -> Value:
    """A number without dimensions, known exactly."""
    return Value((), np.float64(value), np.float64(0.0), whole=float(value).is_integer() and abs(value) < 2.0**53)


def real(v: Array) -> Array:
    """As float64: what is true counts as 1."""
    return np.asarray(v, np.float64)


def certain(v: Array, e: Array) -> Array:
    """Whether rounding leaves a value on its side of zero."""
    found: Array = (e == 0) | (np.abs(v) > e)
    return found


def times(a: Array, error: Array) -> Array:
    """a * error, where no error stays none even beside an infinity."""
    found = np.asarray(a * error)
    return found if math.isfinite(found.sum()) else np.where(error == 0, 0.0, found)


def aligned(*values: Value) -> tuple[tuple[str, ...], list[Array], list[Array]]:
    """Values brought to common dimensions by name, ready to broadcast."""
    dims = union(*(x.dims for x in values))
    check_size(dims, *values)

    def spread(x: Value, array: Array) -> Array:
        if x.dims == dims:
            return array
        order = [x.dims.index(d) for d in dims if d in x.dims]
        array = np.transpose(array, order) if order != list(range(len(order))) else array
        return array[tuple([slice(None) if d in x.dims else None for d in dims])]

    return dims, [spread(x, real(x.v)) for x in values], [spread(x, x.e) for x in values]


def to_order(x: Value, dims: tuple[str, ...]) -> Value:
    """The same value with its dimensions in this order."""
    if x.dims == dims:
        return x
    order = [x.dims.index(d) for d in dims]
    return Value(dims, np.transpose(x.v, order), np.transpose(x.e, order))


def check_size(dims: tuple[str, ...], *values: Value, others: int = 1, most: int = MAX_CELLS) -> None:
    sizes = {d: n for x in values for d, n in zip(x.dims, x.v.shape, strict=True)}
    if others * math.prod(sizes[d] for d in dims) > most:
        raise FormulaError(f"the formula needs more than {most} cells at once, along {' '.join(dims)}")


def reorder(x: Value, dims: tuple[str, ...], shape: tuple[int, ...]) -> Value:
    """A value in the order of `dims`, repeated along those it lacks; raises FormulaError if it has others."""
    extra = [d for d in x.dims if d not in dims and x.v.shape[x.dims.index(d)] > 1]
    if extra:
        raise FormulaError(f"the formula leaves the dimension {extra[0]!r}, which the result does not have")
    if dropped := tuple(x.dims.index(d) for d in x.dims if d not in dims):
        x = Value(tuple(d for d in x.dims if d in dims), x.v.squeeze(dropped), x.e.squeeze(dropped))
    if x.dims == dims and x.v.shape == shape:
        return x
    frame = Value(dims, np.zeros((1,) * len(dims)), np.zeros((1,) * len(dims)))
    _, (_, v), (_, e) = aligned(frame, x)
    return Value(dims, np.broadcast_to(v, shape), np.broadcast_to(e, shape))
