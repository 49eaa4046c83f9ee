"""Means, variances and their roots along one dimension on the tape, however they were written."""

from __future__ import annotations

from math import isclose, sqrt
from typing import NamedTuple

from ..tape import Made, Operand
from .activation import factors, same, through
from .scale import number

CASTS = frozenset(("same",))
_BOTH = frozenset(("var_mean", "std_mean"))  # which return the mean second


class Spread(NamedTuple):
    """`scale · mean(squared²)`: a variance, a mean of squares, or with the number of features as scale their sum."""

    squared: Operand
    axis: int
    since: int
    scale: float = 1.0


class Root(NamedTuple):
    """`scale · √(mean(squared²) + epsilon)`; epsilon may stand beside the root as well."""

    epsilon: float
    squared: Operand
    axis: int
    since: int
    scale: float = 1.0
    clamped: bool = False  # to a least number, which none of them reached


def root(operand: Operand) -> Root | None:
    """A deviation, a length, or the root of a spread, with the epsilon in it or beside it."""
    made = through(operand, CASTS).maker
    if made is None:
        return None
    first = made.get(0, "input")
    if made.kind == "add":
        epsilon, inner = shifted(operand)
        found = root(inner) if inner is not None and epsilon and not _is(inner, "add") else None
        return found._replace(epsilon=epsilon) if found is not None and isclose(found.scale, 1, rel_tol=1e-5) else None
    if made.kind == "clamp":
        found = root(first) if isinstance(first, Operand) and _changed_nothing(made) else None
        return None if found is None else found._replace(clamped=True)
    if made.kind in ("mul", "div"):
        by, parts = factors(made)
        found = root(parts[0]) if len(parts) == 1 and not _is(parts[0], "mul", "div", "add") else None
        return None if found is None else found._replace(scale=found.scale * by)
    if made.kind == "norm":
        return _length(made)
    if made.kind == "std" or _result_of(made, "std_mean", 0):
        axis = _axis(made, first) if isinstance(first, Operand) else None
        return Root(0.0, first, axis, made.step) if isinstance(first, Operand) and axis is not None else None
    taken = made.kind == "sqrt" or (made.kind == "pow" and number(made.get(1, "exponent")) == 0.5)
    return unrooted(first, 0.5) if taken and isinstance(first, Operand) else None


def inverse_root(operand: Operand) -> Root | None:
    """What one is divided by to give a tensor, where that is a root."""
    made = through(operand, CASTS).maker
    first = None if made is None else made.get(0, "input")
    if made is None or not isinstance(first, Operand):
        return None
    if made.kind == "rsqrt" or (made.kind == "pow" and number(made.get(1, "exponent")) == -0.5):
        return unrooted(first, 0.5)
    if made.kind == "reciprocal" or (made.kind == "div_into" and number(made.get(1, "other")) == 1):
        return root(first)
    return None


def unrooted(operand: Operand, power: float = 1.0) -> Root | None:
    """A spread plus epsilon, of which no root has been taken yet; the scale is that of this power of it."""
    epsilon, inner = shifted(operand)
    found = None if inner is None else spread(inner)
    if found is None:
        return None
    return Root(epsilon / found.scale, found.squared, found.axis, found.since, found.scale**power)


def spread(operand: Operand) -> Spread | None:
    """A variance, or a mean or a sum of squares, along one dimension."""
    made = through(operand, CASTS).maker
    if made is None:
        return None
    given = made.get(0, "input")
    if made.kind == "var" or _result_of(made, "var_mean", 0):
        axis = _axis(made, given) if isinstance(given, Operand) else None
        return Spread(given, axis, made.step) if isinstance(given, Operand) and axis is not None else None
    averaged = mean(operand)
    found = _sum(operand) if averaged is None else (*averaged, 1.0)
    inner = None if found is None else through(found[0], CASTS).maker
    if found is None or inner is None:
        return None
    base = inner.get(0, "input")
    if not isinstance(base, Operand):
        return None
    twice = inner.kind == "mul" and same(inner.get(1, "other"), base)
    if twice or inner.kind == "square" or (inner.kind == "pow" and number(inner.get(1, "exponent")) == 2):
        return Spread(base, found[1], inner.step, found[2])
    return None


def mean(operand: Operand) -> tuple[Operand, int] | None:
    """What a mean is of, and along which dimension; it may be written as a sum by the number of its parts."""
    made = through(operand, CASTS).maker
    if made is None:
        return None
    if made.kind in ("mul", "div"):
        by, parts = factors(made)
        total = _sum(parts[0]) if len(parts) == 1 else None
        return total[:2] if total is not None and isclose(by * total[2], 1, rel_tol=1e-6) else None
    given = made.get(0, "input")
    if not isinstance(given, Operand) or not (made.kind == "mean" or any(_result_of(made, one, 1) for one in _BOTH)):
        return None
    axis = _axis(made, given)
    return None if axis is None else (given, axis)


def centered(operand: Operand, axis: int) -> Operand | None:
    """What a mean along this dimension was taken off from."""
    made = through(operand, CASTS).maker
    if made is None or made.kind != "sub":
        return None
    x, taken = made.get(0, "input"), made.get(1, "other")
    found = mean(taken) if isinstance(taken, Operand) else None
    if found is None or not isinstance(x, Operand) or found[1] != axis:
        return None
    return x if same(through(found[0], CASTS), through(x, CASTS)) else None


def shifted(operand: Operand) -> tuple[float, Operand | None]:
    """A tensor as a number plus another tensor."""
    made = through(operand, CASTS).maker
    if made is None or made.kind != "add":
        return 0.0, operand
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (one, two) if number(two) is not None else (two, one)
    by = number(two)
    return (by, one) if by is not None and isinstance(one, Operand) else (0.0, None)


def _sum(operand: Operand) -> tuple[Operand, int, float] | None:
    """What a sum is of, along which dimension, and how many it adds up."""
    made = through(operand, CASTS).maker
    given = None if made is None or made.kind != "sum" else made.get(0, "input")
    axis = _axis(made, given) if made is not None and isinstance(given, Operand) else None
    return (given, axis, float(given.shape[axis])) if isinstance(given, Operand) and axis is not None else None


def _length(made: Made) -> Root | None:
    """A Euclidean length: the root of the sum of squares."""
    given, power = made.get(0, "input", made.get(0, "x", made.get(0, "A"))), made.get(1, "p", made.kwargs.get("ord"))
    if not isinstance(given, Operand) or not (power in (None, "fro") or number(power) == 2):
        return None
    axis = _axis(made, given, 2)
    return None if axis is None else Root(0.0, given, axis, made.step, sqrt(given.shape[axis]))


def _changed_nothing(made: Made) -> bool:
    """Whether all numbers lay above the least that they were clamped to; asked of the host's memory alone."""
    least, most, result = number(made.get(1, "min")), made.get(2, "max"), made.result
    if made.name not in ("clamp", "clip", "clamp_min") or least is None or most is not None or result is None:
        return False
    return result.is_cpu and result.numel() > 0 and float(result.detach().amin()) > least


def _result_of(made: Made, kind: str, at: int) -> bool:
    """Whether this is the result at a place of a function that returns several."""
    return made.kind == kind and made.kwargs.get("#") == at


def _is(operand: Operand, *kinds: str) -> bool:
    made = through(operand, CASTS).maker
    return made is not None and made.kind in kinds


def _axis(made: Made, given: Operand, place: int = 1) -> int | None:
    """The one dimension that something runs along, from the end; of an image its channels may stand before the last
    two. A mean along another dimension is that of a batch, or of a text."""
    dim = made.get(place, "dim")
    dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
    if not isinstance(dim, int) or isinstance(dim, bool):
        return None
    count = len(given.shape)
    axis = dim % count - count
    return axis if axis == -1 or (axis == -3 and count == 4) else None
