"""Functions of the formula language that move cells without changing their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..formula.analysis import without
from ..formula.language import FormulaError
from .value import Array, Value, check_size, reordered, to_float64

Dims = tuple[str, ...]


class Target(NamedTuple):
    """The dimensions and numbers that a call names, the dimensions of its result, and the size of each dimension."""

    names: Dims
    numbers: tuple[int, ...]
    dims: Dims
    size: Callable[[str], int]


def _each(x: Value, dims: Dims, move: Callable[[Array], Array]) -> Value:
    return Value(dims, move(to_float64(x.v)), move(x.e))


def _concat(values: Sequence[Value], to: Target) -> Value:
    rest = to.dims[:-1]
    sizes = {d: n for x in values for d, n in zip(x.dims[:-1], x.v.shape, strict=False)}
    shape = tuple(sizes[d] for d in rest)
    if sum(x.v.shape[-1] for x in values) != to.size(to.names[0]):
        raise FormulaError(
            f"concat() gives {sum(x.v.shape[-1] for x in values)} along {to.names[0]}, not {to.size(to.names[0])}"
        )
    check_size(rest, *values, others=to.size(to.names[0]))
    parts = []
    for x in values:
        own = tuple([d for d in rest if d in x.dims])
        x = reordered(x, (*own, x.dims[-1]))
        index = (*(slice(None) if d in own else None for d in rest), slice(None))
        full = (*shape, x.v.shape[-1])
        parts.append((np.broadcast_to(to_float64(x.v)[index], full), np.broadcast_to(x.e[index], full)))
    v, e = (np.concatenate(part, -1) for part in zip(*parts, strict=True))
    return Value(to.dims, v, e)


def _split_heads(values: Sequence[Value], to: Target) -> Value:
    (x,), parts = values, tuple(to.size(name) for name in to.names)
    if math.prod(parts) != x.v.shape[-1]:
        raise FormulaError(f"split_heads() cannot make {x.v.shape[-1]} into {' x '.join(map(str, parts))}")
    return _each(x, to.dims, lambda a: a.reshape(*a.shape[:-1], *parts))


def _join_heads(values: Sequence[Value], to: Target) -> Value:
    x = reordered(values[0], (*without(values[0].dims, to.names[:2]), *to.names[:2]))
    if math.prod(x.v.shape[-2:]) != to.size(to.names[2]):
        raise FormulaError(
            f"join_heads() gives {math.prod(x.v.shape[-2:])} along {to.names[2]}, not {to.size(to.names[2])}"
        )
    return _each(x, to.dims, lambda a: a.reshape(*a.shape[:-2], -1))


def _rotate_half(values: Sequence[Value], to: Target) -> Value:
    """Map (x1, x2) to (-x2, x1), where x1 is the first half of the last dimension."""
    (x,) = values
    if x.v.shape[-1] % 2:
        raise FormulaError(f"rotate_half() needs an even dimension, and {to.dims[-1]} has {x.v.shape[-1]}")
    half = x.v.shape[-1] // 2
    v, e = np.roll(to_float64(x.v), half, -1), np.roll(x.e, half, -1)
    v[..., :half] *= -1
    return Value(to.dims, v, e)


def _rotate_pairs(values: Sequence[Value], to: Target) -> Value:
    """Map each pair of neighbours (x1, x2) along the last dimension to (-x2, x1)."""
    (x,) = values
    if x.v.shape[-1] % 2:
        raise FormulaError(f"rotate_pairs() needs an even dimension, and {to.dims[-1]} has {x.v.shape[-1]}")
    v, e = (a.reshape(*a.shape[:-1], -1, 2)[..., ::-1].reshape(a.shape) for a in (to_float64(x.v), x.e))
    return Value(to.dims, v * np.resize([-1.0, 1.0], v.shape[-1]), e)


def _roll(values: Sequence[Value], to: Target) -> Value:
    axis = to.dims.index(to.names[0])
    return _each(values[0], to.dims, lambda a: np.roll(a, to.numbers[0], axis))


def _shift(values: Sequence[Value], to: Target) -> Value:
    """Like roll, but zeros move in from beyond the end."""
    axis = to.dims.index(to.names[0])
    at = np.arange(values[0].v.shape[axis]) - to.numbers[0]
    inside = (at >= 0) & (at < len(at))
    shape = [-1 if d == axis else 1 for d in range(len(to.dims))]
    return _each(
        values[0], to.dims, lambda a: np.where(inside.reshape(shape), a.take(at.clip(0, len(at) - 1), axis), 0.0)
    )


def _gather(values: Sequence[Value], to: Target) -> Value:
    """Take x at the positions that an index gives along one of its dimensions."""
    x, index = values
    shared = tuple([d for d in x.dims if d in index.dims and d != to.names[0]])
    own, new = without(x.dims, (*shared, *to.names)), without(index.dims, shared)
    check_size(to.dims, x, index)
    x, index = reordered(x, (*shared, *own, *to.names)), reordered(index, (*shared, *new))
    whole = (index.e < 0.5) & (index.v == np.rint(index.v))  # sums of positions are exact, even if their bound is not 0
    if not (whole & (index.v >= 0) & (index.v < x.v.shape[-1])).all():
        raise FormulaError(f"the index of gather() is no position along {to.names[0]}")
    at = index.v.astype(np.int64).reshape(*index.v.shape[: len(shared)], *(1,) * len(own), -1)

    def take(a: Array) -> Array:
        places = np.broadcast_to(at, (*a.shape[:-1], at.shape[-1]))
        found = np.take_along_axis(a, places, -1)
        return np.reshape(found, (*a.shape[:-1], *index.v.shape[len(shared) :]))

    return reordered(_each(x, (*shared, *own, *new), take), to.dims)


def _topk(values: Sequence[Value], to: Target) -> Value:
    """The largest values along a dimension, in descending order; their error is at most the largest among all."""
    (x,), axis, count = values, to.dims.index(to.names[1]), to.size(to.names[1])
    if count > x.v.shape[axis]:
        raise FormulaError(f"topk() cannot take {count} of {x.v.shape[axis]} along {to.names[0]}")
    v = np.flip(np.sort(to_float64(x.v), axis), axis).take(np.arange(count), axis)
    return Value(to.dims, v, np.repeat(x.e.max(axis, keepdims=True), count, axis))


FUNCTIONS = {
    "concat": _concat,
    "split_heads": _split_heads,
    "join_heads": _join_heads,
    "rotate_half": _rotate_half,
    "rotate_pairs": _rotate_pairs,
    "roll": _roll,
    "shift": _shift,
    "gather": _gather,
    "topk": _topk,
}
