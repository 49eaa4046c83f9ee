"""Norms on the tape: torch's functions for them, and those written out as a quotient by a root of a mean of squares."""

from __future__ import annotations

from math import isclose
from typing import NamedTuple

import torch

from .expressions.activation import factors, same, through
from .expressions.means import CASTS, Root, centered, inverse_root, root, unrooted
from .expressions.scale import number
from .proposal import Proposal, Unfit, need
from .tape import Made, Operand

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
    if made.kind == "addcmul":
        return _in_one_call(made)
    found = _normalized(made) or _of_unit_length(made)
    return None if found is None else _proposed(made, found, None)


def _of_unit_length(made: Made) -> _Normalized | None:
    """`x / |x| · √n`, which is x divided by its root mean square, times weights."""
    if made.kind != "mul":
        return None
    factor, parts = factors(made)
    for at, part in enumerate(parts):
        unit = through(part, CASTS).maker
        if unit is None or unit.kind != "normalize" or number(unit.get(1, "p", 2.0)) != 2:
            continue
        x, dim = unit.get(0, "input"), unit.get(2, "dim", 1)
        if (
            isinstance(x, Operand)
            and dim in (-1, len(x.shape) - 1)
            and isclose(factor, x.shape[-1] ** 0.5, rel_tol=1e-4)
        ):
            return _Normalized(x, False, 0.0, (*parts[:at], *parts[at + 1 :]), unit.step, -1, clamped=True)
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
    clamped: bool = False
    mistaken: str = ""  # what it is instead: `sum` of squares, or a mean of them without its `root`


def _proposed(made: Made, found: _Normalized, bias: Operand | None) -> Proposal:
    proposal = Proposal("layer-norm" if found.centered else "rms-norm", found.since)
    before = through(found.x, CASTS).tensor  # in the dtype that it came in, to which the result may be rounded between
    x, out = need(found.x.tensor) if before is None else before, need(made.result)
    put = proposal.tensors
    put["x"], put["out"] = x.movedim(found.axis, -1), out.movedim(found.axis, -1)
    width = put["x"].shape[-1]
    proposal.clamped = found.clamped
    if found.mistaken:  # a norm by its name alone: lengths and other quotients are computed for other ends as well
        if found.centered and found.mistaken == "sum":
            raise Unfit
        proposal.named = ("layernorm",) if found.centered else ("rms", "layernorm")
    elif not is_own(found.factor, width, len(found.x.shape)):
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
    if not found.mistaken:
        made.norm_of = through(found.x, CASTS)
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
        inner = through(scaled, CASTS).maker
        smaller = (bias.maker is None or bias.maker.kind in _FORMS) and _count(bias) < _count(scaled)
        if not smaller or inner is None or inner.kind not in ("mul", "div"):
            continue
        found = _normalized(inner)
        if found is not None:
            return _proposed(made, found, bias)
    return None


def _in_one_call(made: Made) -> Proposal | None:
    """`torch.addcmul(bias, normalized, weight)`."""
    bias, one, two = made.get(0, "input"), made.get(1, "tensor1"), made.get(2, "tensor2")
    if not isinstance(bias, Operand) or made.kwargs.get("value", 1) != 1:
        return None
    found = _normalized(Made("mul", "mul", need(made.result), (one, two), {}, made.step))
    return None if found is None else _proposed(made, found, bias)


def _count(operand: Operand) -> int:
    found = 1
    for size in operand.shape:
        found *= size
    return found


def _normalized(made: Made) -> _Normalized | None:
    """What is normalized, if this product or quotient has a root of squares below or beside it."""
    factor, above, below = _parts(made, 0)
    return _of_parts(made, factor, above, below) if factor else None


def _of_parts(made: Made, factor: float, above: list[Operand], below: list[Operand]) -> _Normalized | None:
    roots = [(at, by) for at, one in enumerate(below) if (by := root(one)) is not None]
    inverse = [(at, by) for at, one in enumerate(above) if (by := inverse_root(one)) is not None]
    mistaken = ""
    if not roots and not inverse and len(below) == 1 and (bare := unrooted(below[0])) is not None:
        roots, mistaken = [(0, bare)], "root"
    if len(roots) + len(inverse) != 1 or len(below) != len(roots):
        return None
    if inverse:
        above = [one for at, one in enumerate(above) if at != inverse[0][0]]
    by = (roots or inverse)[0][1]
    full = [one for one in above if one.shape == made.shape]
    if len(full) != 1:
        return None
    found = _of_root(full[0], by, tuple(one for one in above if one is not full[0]))
    if found is None:
        return None
    if not mistaken and factor == 1 and isclose(by.scale, by.squared.shape[by.axis] ** 0.5, rel_tol=1e-5):
        mistaken = "sum"
    factor /= by.scale
    factor = 1.0 if isclose(factor, 1, rel_tol=1e-6) else factor
    return found._replace(factor=factor, clamped=by.clamped, mistaken=mistaken)


def _of_root(full: Operand, by: Root, weights: tuple[Operand, ...]) -> _Normalized | None:
    x = centered(full, by.axis)
    if x is not None and same(through(x, CASTS), through(by.squared, CASTS)):
        return _Normalized(x, True, by.epsilon, weights, min(by.since, _since(full)), by.axis)
    return _plain(full, by, weights)


def _plain(x: Operand, by: Root, weights: tuple[Operand, ...]) -> _Normalized | None:
    """Without a mean taken off: x itself was squared. Of a centered one the squares may be those of the difference."""
    before, other = centered(x, by.axis), centered(by.squared, by.axis)
    twice = before is not None and other is not None and same(through(before, CASTS), through(other, CASTS))
    if not twice and not same(through(x, CASTS), through(by.squared, CASTS)):
        return None
    if before is not None:
        return _Normalized(before, True, by.epsilon, weights, min(by.since, _since(x)), by.axis)
    return _Normalized(x, False, by.epsilon, weights, by.since, by.axis)


def _since(operand: Operand) -> int:
    made = through(operand, CASTS).maker
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
    inner = through(operand, CASTS).maker
    if inner is not None and inner.kind in ("mul", "div") and deep < 3:
        found = _parts(inner, deep + 1)
        if found[1]:
            return found
    return 1.0, [operand], []
