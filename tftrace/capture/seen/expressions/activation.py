"""Activations on the tape: called by name, or written out number by number."""

from __future__ import annotations

import math

from ..proposal import Proposal, need
from ..tape import Made, Operand
from .scale import number

_NAMED = frozenset(("relu", "silu", "mish", "tanh", "sigmoid", "hardswish"))
# Those with a number of their own, whose formulas are written for the number that torch takes by itself.
_SLOPES = {"leaky_relu": ("negative_slope", 0.01), "elu": ("alpha", 1.0), "softplus": ("beta", 1.0)}
PASSING = frozenset(("same", "dropout"))  # what leaves numbers what they are, as long as nothing is dropped


def activation(operand: Operand) -> tuple[str, Operand] | None:
    """The name of the activation that made a tensor (as configurations write it), and what that was given."""
    made = through(operand).maker
    if made is None:
        return None
    first = made.get(0, "input", made.get(0, "x"))
    if made.kind in _NAMED and isinstance(first, Operand):
        return made.kind, first
    if made.kind in _SLOPES and isinstance(first, Operand):
        name, usual = _SLOPES[made.kind]
        return (made.kind, first) if number(made.get(1, name, usual)) == usual else None
    if made.kind == "gelu" and isinstance(first, Operand):
        form = made.get(1, "approximate", "none")
        return ("gelu_new" if form == "tanh" else "gelu"), first
    if made.kind == "clamp" and isinstance(first, Operand) and _is_relu(made):
        return "relu", first
    if made.kind in ("pow", "square") and isinstance(first, Operand):
        below = activation(first)
        squared = made.kind == "square" or number(made.get(1, "exponent")) == 2
        return ("relu2", below[1]) if squared and below is not None and below[0] == "relu" else None
    return written_out(made) if made.kind in ("mul", "div") else None


def through(operand: Operand, kinds: frozenset[str] = PASSING) -> Operand:
    """The tensor that had these numbers first, before casts and dropouts that dropped nothing."""
    while (made := operand.maker) is not None and made.kind in kinds:
        first = made.get(0, "input")
        if not isinstance(first, Operand) or len(first.shape) != len(made.shape):
            break
        operand = first
    return operand


def _is_relu(made: Made) -> bool:
    least, most = made.get(1, "min"), made.get(2, "max")
    return made.name in ("clamp", "clip", "clamp_min", "clamp_", "clip_") and number(least) == 0 and most is None


def written_out(made: Made, right: bool = True) -> tuple[str, Operand] | None:
    """An activation that ends in a product: GELU by tanh, erf or sigmoid, and SiLU.

    Args:
        made: The product.
        right: Whether the numbers of a GELU must be those of its paper; otherwise its form is enough.
    """
    factor, parts = factors(made)
    if len(parts) != 2:
        return None
    for one, other in (parts, parts[::-1]):
        gate = through(other).maker
        if gate is None:
            continue
        if gate.kind == "sigmoid" and factor == 1:
            by, inner = _times(gate.get(0, "input"))
            if inner is not None and same(inner, one):
                return ("silu", one) if by == 1 else ("quick_gelu", one) if math.isclose(by, 1.702) else None
        if gate.kind == "add" and math.isclose(factor, 0.5):
            named = _gelu(gate, one, right)
            if named is not None:
                return named, one
    return None


def _gelu(gate: Made, x: Operand, right: bool) -> str | None:
    """Of `1 + erf(x / √2)` or `1 + tanh(√(2/π)(x + 0.044715 x³))` which it is."""
    plus, inner = _plus(gate)
    made = None if inner is None else through(inner).maker
    if plus != 1 or made is None or made.kind not in ("erf", "tanh"):
        return None
    given = made.get(0, "input")
    by, base = _times(given)
    if base is None:
        return None
    if made.kind == "erf":
        return "gelu" if same(base, x) and (not right or math.isclose(by, 0.5**0.5, rel_tol=1e-5)) else None
    cubic = through(base).maker
    return "gelu_new" if cubic is not None and _is_cubic(cubic, by, x, right) else None


def _is_cubic(made: Made, by: float, x: Operand, right: bool) -> bool:
    """Whether a number times this is `√(2/π)(x + 0.044715 x³)`, or `√(2/π) x (1 + 0.044715 x²)`."""
    if made.kind == "add":
        parts = [part for part in made.args[:2] if isinstance(part, Operand)]
        cubes = (parts, parts[::-1]) if len(parts) == 2 else ()
        found = any(same(one, x) and _power(other, x, right) == (3, True) for one, other in cubes)
    else:
        more, parts = factors(made)
        by *= more
        squares = (parts, parts[::-1]) if len(parts) == 2 else ()
        found = any(same(one, x) and _is_one_and_square(other, x, right) for one, other in squares)
    return found and (not right or math.isclose(by, math.sqrt(2 / math.pi), rel_tol=1e-5))


def _is_one_and_square(operand: Operand, x: Operand, right: bool) -> bool:
    """Whether this is `1 + 0.044715 x²`."""
    plus, squared = (0.0, None) if operand.maker is None else _plus(operand.maker)
    added = operand.maker is not None and operand.maker.kind == "add"
    return added and plus == 1 and squared is not None and _power(squared, x, right) == (2, True)


def _power(operand: Operand, x: Operand, right: bool) -> tuple[int, bool]:
    """To which power of x a tensor is, and whether its factor is 0.044715, if it is to be right."""
    made = operand.maker
    if made is None:
        return 0, False
    factor, parts = (1.0, [operand]) if made.kind not in ("mul", "div") else factors(made)
    power = 0
    for part in parts:
        inner = part.maker
        if same(part, x):
            power += 1
        elif inner is not None and inner.kind in ("pow", "square") and same(inner.get(0, "input"), x):
            power += 2 if inner.kind == "square" else int(number(inner.get(1, "exponent")) or 0)
        else:
            return 0, False
    return power, not right or math.isclose(factor, 0.044715, rel_tol=1e-4)


def factors(made: Made, deep: int = 0) -> tuple[float, list[Operand]]:
    """A product of numbers and tensors as one number and the tensors."""
    one, two = made.get(0, "input"), made.get(1, "other")
    factor, parts = 1.0, []
    for at, part in enumerate((one, two)):
        by = number(part)
        if by is not None and by:
            factor = factor * by if at == 0 or made.kind == "mul" else factor / by
            continue
        if not isinstance(part, Operand) or (at == 1 and made.kind == "div"):
            return 0.0, []
        inner = part.maker
        if inner is not None and inner.kind in ("mul", "div") and deep < 4:
            more, below = factors(inner, deep + 1)
            if below:
                factor *= more
                parts += below
                continue
        parts.append(part)
    return factor, parts


def _times(operand: object) -> tuple[float, Operand | None]:
    """A tensor as a number times another tensor."""
    if not isinstance(operand, Operand):
        return 0.0, None
    made = operand.maker
    if made is None or made.kind not in ("mul", "div"):
        return 1.0, operand
    factor, parts = factors(made)
    return (factor, parts[0]) if len(parts) == 1 else (1.0, operand)


def _plus(made: Made) -> tuple[float, Operand | None]:
    """A tensor as a number plus another tensor."""
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (two, one) if number(one) is not None else (one, two)
    by = number(two)
    return (by, one) if by is not None and isinstance(one, Operand) else (0.0, None)


def same(one: object, two: Operand) -> bool:
    """Whether two operands are one tensor."""
    if not isinstance(one, Operand):
        return False
    if one.maker is not None or two.maker is not None:
        return one.maker is two.maker
    return one.is_the(two)


def gelu_written(made: Made) -> Proposal | None:
    """A GELU that ends in this product, whatever its numbers."""
    found = written_out(made, right=False)
    if found is None or found[0] not in ("gelu", "gelu_new"):
        return None
    proposal = Proposal(
        "gelu" if found[0] == "gelu" else "gelu-tanh", made.step if found[1].maker is None else _first(made)
    )
    proposal.tensors |= {"x": need(found[1].tensor), "out": need(made.result)}
    return proposal


def _first(made: Made) -> int:
    """The step in which the first part of an expression ran, its input not counted."""
    parts = [one.maker for one in made.operands if one.maker is not None]
    inner = [_first(one) for one in parts if one.kind in ("mul", "div", "add", "pow", "square", "tanh", "erf")]
    return min([made.step, *inner])
