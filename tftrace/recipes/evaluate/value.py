"""Arrays with named dimensions and a bound on the rounding error of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..formula.analysis import union
from ..formula.language import FormulaError

MAX_CELLS, MAX_PRODUCTS = 1 << 24, 1 << 30  # per value and per matrix product, since a recipe may come from anyone

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """An array with named dimensions, and how far the run's own values may be from it because of rounding."""

    dims: tuple[str, ...]
    v: Array  # the values; of another dtype than float64 if they were just read (see `to_float64`)
    e: Array  # the bound on the run's rounding error, in the same units as `v`
    start_units: Array | None = None  # a sum may have started from the term added next: its error per size of that term
    integer: bool = False  # whether these are integers (sizes, positions), whose arithmetic is exact

    @property
    def exact(self) -> bool:
        """Whether the error bound is 0 everywhere; quick for `shared_zeros`, which values read from a run have."""
        if not self.e.size or self.e.item(0):
            return not self.e.size
        return not any(self.e.strides) or not self.e.any()


@lru_cache(maxsize=4096)
def shared_zeros(shape: tuple[int, ...]) -> Array:
    """Zeros of a shape that share one element in memory."""
    return np.broadcast_to(np.float64(0.0), shape)


def constant(value: float) -> Value:
    """An exact number without dimensions."""
    return Value((), np.float64(value), np.float64(0.0), integer=float(value).is_integer() and abs(value) < 2.0**53)


def to_float64(v: Array) -> Array:
    """Convert to float64; True becomes 1."""
    return np.asarray(v, np.float64)


def sign_certain(v: Array, e: Array) -> Array:
    """Where rounding cannot have changed the sign of a value."""
    found: Array = (e == 0) | (np.abs(v) > e)
    return found


def scaled_error(a: Array, error: Array) -> Array:
    """a * error, with 0 where the error is 0, even if `a` is infinite or NaN."""
    found = np.asarray(a * error)
    return found if math.isfinite(found.sum()) else np.where(error == 0, 0.0, found)


def aligned(*values: Value) -> tuple[tuple[str, ...], list[Array], list[Array]]:
    """Align values by the names of their dimensions.

    Returns:
        The union of their dimensions, and each one's values in float64 and errors, ready to broadcast.
    """
    dims = union(*[x.dims for x in values])
    check_size(dims, *values)
    found = [to_float64(x.v) for x in values], [x.e for x in values]
    for at, x in enumerate(values):
        if x.dims != dims:
            order, index = _spread(x.dims, dims)
            for arrays in found:
                arrays[at] = (arrays[at] if order is None else np.transpose(arrays[at], order))[index]
    return dims, *found


@lru_cache(maxsize=4096)
def _spread(own: tuple[str, ...], dims: tuple[str, ...]) -> tuple[list[int] | None, tuple[slice | None, ...]]:
    """How an array of some of these dimensions is transposed, if it has to be, and where it needs new axes."""
    order = [own.index(d) for d in dims if d in own]
    index = tuple([slice(None) if d in own else None for d in dims])
    return None if order == list(range(len(order))) else order, index


def reordered(x: Value, dims: tuple[str, ...]) -> Value:
    """Transpose a value to this order of its dimensions."""
    if x.dims == dims:
        return x
    order = [x.dims.index(d) for d in dims]
    return Value(dims, np.transpose(x.v, order), np.transpose(x.e, order))


def check_size(dims: tuple[str, ...], *values: Value, others: int = 1, most: int = MAX_CELLS) -> None:
    """Raise FormulaError if a result with these dimensions, times `others`, has more than `most` cells."""
    if others * math.prod([x.v.size for x in values]) <= most:  # each dimension is that of some value
        return
    sizes = {d: n for x in values for d, n in zip(x.dims, x.v.shape, strict=True)}
    if others * math.prod(sizes[d] for d in dims) > most:
        raise FormulaError(f"the formula needs more than {most} cells at once, along {' '.join(dims)}")


def broadcast_to_dims(x: Value, dims: tuple[str, ...], shape: tuple[int, ...]) -> Value:
    """Transpose a value to `dims` and repeat it along those it lacks; raises FormulaError if it has others."""
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
