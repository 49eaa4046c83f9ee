"""Norms on the tape: torch's functions for them, and those written out as a quotient by a root of a mean of squares."""

from __future__ import annotations

from math import isclose
from typing import NamedTuple

import torch

from .activation import factors, same, through
from .proposal import Proposal, Unfit, need
from .scale import number
from .tape import Made, Operand

_CASTS = frozenset(("same",))
_FORMS = frozenset(("same", "shaped", "part", "expand"))  # what a bias may come from


def norm_called(made: Made) -> Proposal | None:
    """`F.layer_norm` or `F.rms_norm` over the last dimension."""
    names: tuple[str, ...] = ("input", "normalized_shape", "weight", "bias", "eps")
    if made.kind == "rms_norm":
        names = ("input", "normalized_shape", "weight", "eps")
    given = {name: made.get(at, name) for at, name in enumerate(names)}
    x, shape = given["input"], given["normalized_shape"]
    if not isinstance(x, Operand) or not isinstance(shape, (tuple, list)) or len(shape) != 1:
        return None
    epsilon = given["eps"]
    if epsilon is None:
        epsilon = 1e-5 if made.kind == "layer_norm" else torch.finfo(need(x.tensor).dtype).eps
    found = Proposal("layer-norm" if made.kind == "layer_norm" else "rms-norm", made.step)
    found.tensors |= {"x": need(x.tensor), "out": need(made.result)}
    found.values |= {"e": float(epsilon), "E": float(epsilon), "f": 1.0}
    for symbol, name, without in (("g", "weight", 1.0), ("b", "bias", 0.0)):
        weight = given.get(name)
        if isinstance(weight, Operand):
            found.tensors[symbol] = need(weight.tensor)
        elif symbol == "g" or made.kind == "layer_norm":
            found.values[symbol] = without
    return found


def norm_written(made: Made) -> Proposal | None:
    """A norm that ends in this quotient, in a product with its weight, or in the sum with its bias."""
    if made.kind == "add":
        return _with_bias(made)
    found = _normalized(made) or _of_unit_length(made)
    return None if found is None else _proposed(made, found, None)


def _of_unit_length(made: Made) -> _Normalized | None:
    """`x / |x| · √n`, which is x divided by its root mean square, times weights."""
    if made.kind != "mul":
        return None
    factor, parts = factors(made)
    for at, part in enumerate(parts):
        unit = through(part, _CASTS).maker
        if unit is None or unit.kind != "normalize" or number(unit.get(1, "p", 2.0)) != 2:
            continue
        x, dim = unit.get(0, "input"), unit.get(2, "dim", 1)
        if (
            isinstance(x, Operand)
            and dim in (-1, len(x.shape) - 1)
            and isclose(factor, x.shape[-1] ** 0.5, rel_tol=1e-4)
        ):
            return _Normalized(x, False, 0.0, (*parts[:at], *parts[at + 1 :]), unit.step, -1)
    return None


class _Normalized(NamedTuple):
    """`(x - mean) / sqrt(var + e)`, or `x / sqrt(mean(x²) + e)`, times weights."""

    x: Operand
    centered: bool
    epsilon: float
    weights: tuple[Operand, ...]
    since: int
    axis: int
    factor: float = 1.0  # a number beside the weights


def _proposed(made: Made, found: _Normalized, bias: Operand | None) -> Proposal:
    proposal = Proposal("layer-norm" if found.centered else "rms-norm", found.since)
    before = through(found.x, _CASTS).tensor  # in the dtype that it came in, to which the result may be rounded between
    x, out = need(found.x.tensor) if before is None else before, need(made.result)
    put = proposal.tensors
    put["x"], put["out"] = x.movedim(found.axis, -1), out.movedim(found.axis, -1)
    width = put["x"].shape[-1]
    if not is_own(found.factor, width, len(found.x.shape)):
        raise Unfit
    proposal.values |= {"e": found.epsilon, "E": found.epsilon, "f": found.factor}
    weights = [_vector(one, found.axis, width) for one in found.weights]
    if len(weights) == 1:
        put["g"] = weights[0]
    elif not weights:
        proposal.values["g"] = 1.0
    else:
        raise Unfit
    if bias is not None:
        put["b"] = _vector(bias, found.axis, width)
    elif found.centered:
        proposal.values["b"] = 0.0
    if put["out"].shape != put["x"].shape or (bias is not None and not found.centered):
        raise Unfit
    made.norm_of = through(found.x, _CASTS)
    return proposal


def is_own(factor: float, width: int, dims: int) -> bool:
    """Whether a number beside a norm can be meant for it: none, or one that is not the scale of an attention, which may
    follow a norm of queries and keys at once."""
    return factor == 1 or (dims < 4 and not any(isclose(factor, width**by, rel_tol=1e-4) for by in (0.5, -0.5)))


def _vector(operand: Operand, axis: int, width: int) -> torch.Tensor:
    """A weight for each feature, of whatever shape."""
    tensor = need(operand.tensor)
    if tensor.dim() and tensor.numel() == width == tensor.shape[axis if -axis <= tensor.dim() else -1]:
        return tensor.reshape(width)
    raise Unfit


def _with_bias(made: Made) -> Proposal | None:
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    for scaled, bias in ((one, two), (two, one)):
        inner = through(scaled, _CASTS).maker
        smaller = (bias.maker is None or bias.maker.kind in _FORMS) and _count(bias) < _count(scaled)
        if not smaller or inner is None or inner.kind not in ("mul", "div"):
            continue
        found = _normalized(inner)
        if found is not None:
            return _proposed(made, found, bias)
    return None


def _count(operand: Operand) -> int:
    found = 1
    for size in operand.shape:
        found *= size
    return found


def _normalized(made: Made) -> _Normalized | None:
    """What is normalized, if this product or quotient has a root of squares below or beside it."""
    factor, above, below = _parts(made, 0)
    found = _of_parts(made, above, below) if factor else None
    return None if found is None else found._replace(factor=factor)


def _of_parts(made: Made, above: list[Operand], below: list[Operand]) -> _Normalized | None:
    roots = [(at, root) for at, one in enumerate(below) if (root := _root(one, "sqrt")) is not None]
    inverse = [(at, root) for at, one in enumerate(above) if (root := _root(one, "rsqrt")) is not None]
    if len(roots) + len(inverse) != 1 or len(below) != len(roots):
        return None
    if inverse:
        above = [one for at, one in enumerate(above) if at != inverse[0][0]]
    epsilon, spread, axis, since = (roots or inverse)[0][1]
    full = [one for one in above if one.shape == made.shape]
    if len(full) != 1:
        return None
    weights = tuple(one for one in above if one is not full[0])
    centered = _centered(full[0], axis)
    if spread is not None and centered is not None and same(through(centered, _CASTS), through(spread, _CASTS)):
        return _Normalized(centered, True, epsilon, weights, min(since, _since(full[0])), axis)
    return None if spread is None else _plain(full[0], spread, epsilon, weights, since, axis)


def _plain(
    x: Operand, squared: Operand, epsilon: float, weights: tuple[Operand, ...], since: int, axis: int
) -> _Normalized | None:
    """Without a mean taken off: x itself was squared. Of a centered one the squares may be those of the difference."""
    centered, other = _centered(x, axis), _centered(squared, axis)
    twice = centered is not None and other is not None and same(through(centered, _CASTS), through(other, _CASTS))
    if not twice and not same(through(x, _CASTS), through(squared, _CASTS)):
        return None
    if centered is not None:
        return _Normalized(centered, True, epsilon, weights, min(since, _since(x)), axis)
    return _Normalized(x, False, epsilon, weights, since, axis)


def _since(operand: Operand) -> int:
    made = through(operand, _CASTS).maker
    return 1 << 62 if made is None else made.step


def _parts(made: Made, deep: int) -> tuple[float, list[Operand], list[Operand]]:
    """The numbers of a product as one, its factors and what it is divided by; 0 and nothing where it has no tensor."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if (by := number(two)) and isinstance(one, Operand):
        factor, above, below = _deeper(one, deep)
        return (factor * by if made.kind == "mul" else factor / by), above, below
    if made.kind == "mul" and (by := number(one)) and isinstance(two, Operand):
        factor, above, below = _deeper(two, deep)
        return factor * by, above, below
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return 0.0, [], []
    (left, above, below), (right, more, less) = _deeper(one, deep), _deeper(two, deep)
    if made.kind == "mul":
        return left * right, [*above, *more], [*below, *less]
    return left / right, [*above, *less], [*below, *more]


def _deeper(operand: Operand, deep: int) -> tuple[float, list[Operand], list[Operand]]:
    inner = through(operand, _CASTS).maker
    if inner is not None and inner.kind in ("mul", "div") and deep < 3:
        found = _parts(inner, deep + 1)
        if found[1]:
            return found
    return 1.0, [operand], []


_Root = tuple[float, "Operand | None", int, int]  # epsilon, what was squared, along which dimension, since which step


def _root(operand: Operand, kind: str) -> _Root | None:
    """A root of a mean of squares (or of a variance) plus epsilon, or a deviation plus epsilon."""
    made = through(operand, _CASTS).maker
    if made is None:
        return None
    if made.kind == "add":  # a deviation, with epsilon beside the root
        epsilon, inner = _shifted(operand)
        deviation = None if inner is None else through(inner, _CASTS).maker
        if kind == "sqrt" and deviation is not None and deviation.kind in ("std", "sqrt"):
            found = _spread(inner) if deviation.kind == "std" else _root(inner, "sqrt") if inner is not None else None
            return None if found is None else (epsilon, *found[1:])
        return None
    if made.kind == "std" and kind == "sqrt":
        return _spread(operand)
    half = {"sqrt": 0.5, "rsqrt": -0.5}[kind]
    if made.kind != kind and not (made.kind == "pow" and number(made.get(1, "exponent")) == half):
        return None
    given = made.get(0, "input")
    if not isinstance(given, Operand):
        return None
    epsilon, inner = _shifted(given)
    found = None if inner is None else _spread(inner)
    return None if found is None else (epsilon, *found[1:])


def _shifted(operand: Operand) -> tuple[float, Operand | None]:
    made = through(operand, _CASTS).maker
    if made is None or made.kind != "add":
        return 0.0, operand
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (one, two) if number(two) is not None else (two, one)
    by = number(two)
    return (by, one) if by is not None and isinstance(one, Operand) else (0.0, None)


def _spread(operand: Operand | None) -> _Root | None:
    """A variance, a deviation, or a mean of squares, along one dimension."""
    made = None if operand is None else through(operand, _CASTS).maker
    if made is None or made.kind not in ("var", "std", "mean"):
        return None
    given = made.get(0, "input")
    axis = _axis(made, given) if isinstance(given, Operand) else None
    if not isinstance(given, Operand) or axis is None:
        return None
    if made.kind != "mean":
        return 0.0, given, axis, made.step
    inner = through(given, _CASTS).maker
    if inner is None:
        return None
    base = inner.get(0, "input")
    if not isinstance(base, Operand):
        return None
    twice = inner.kind == "mul" and same(inner.get(1, "other"), base)
    if twice or inner.kind == "square" or (inner.kind == "pow" and number(inner.get(1, "exponent")) == 2):
        return 0.0, base, axis, inner.step
    return None


def _centered(operand: Operand, axis: int) -> Operand | None:
    """What a mean along this dimension was taken off from."""
    made = through(operand, _CASTS).maker
    if made is None or made.kind != "sub":
        return None
    x, mean = made.get(0, "input"), made.get(1, "other")
    inner = through(mean, _CASTS).maker if isinstance(mean, Operand) else None
    if inner is None or inner.kind != "mean" or not isinstance(x, Operand):
        return None
    given = inner.get(0, "input")
    own = isinstance(given, Operand) and same(through(given, _CASTS), through(x, _CASTS))
    return x if own and _axis(inner, x) == axis else None


def _axis(made: Made, given: Operand) -> int | None:
    """The one dimension that something runs along, from the end; of an image its channels may stand before the last
    two. A mean along another dimension is that of a batch, or of a text."""
    dim = made.get(1, "dim")
    dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
    if not isinstance(dim, int) or isinstance(dim, bool):
        return None
    count = len(given.shape)
    axis = dim % count - count
    return axis if axis == -1 or (axis == -3 and count == 4) else None
