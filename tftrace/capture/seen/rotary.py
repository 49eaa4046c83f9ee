"""Rotary embeddings on the tape: pairs of features turned by the angle of their position, in four ways of writing.

Whatever way it was, two halves a and b of the features become `a cos - b sin` and `b cos + a sin`. Only where the
halves lie differs: one after the other, or in turns."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..measure.plain_memory import address
from .expressions.activation import PASSING, through
from .expressions.scale import number
from .proposal import Proposal, Unfit, need
from .tape import Made, Operand

_CASTS = PASSING
_Term = tuple[Operand, Operand]  # a product


class _Halves(NamedTuple):
    """The two halves of a tensor's features."""

    whole: Operand
    pairs: bool  # whether they lie in turns
    signed: bool = True  # whether the second one was taken with a minus when they were exchanged

    def of(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The halves of another tensor that is laid out so."""
        half = tensor.shape[-1] // 2
        if self.pairs:
            return tensor[..., ::2], tensor[..., 1::2]
        return tensor[..., :half], tensor[..., half:]


def rotated(made: Made) -> Proposal | None:
    """`x cos + rot(x) sin`, with the halves of x exchanged and one of them negative."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    for plain, turned in ((one, two), (two, one)):
        left, right = _product(plain), _product(turned)
        if left is None or right is None:
            continue
        for at, x in enumerate(left):
            for beside, other in enumerate(right):
                halves = _exchanged(other, x)
                if halves is not None:
                    return _proposal(made, halves, x, left[1 - at], right[1 - beside])
    return None


def _proposal(made: Made, halves: _Halves, x: Operand, cos: Operand, sin: Operand) -> Proposal | None:
    whole, result = need(x.tensor), need(made.result)
    if result.shape != whole.shape or whole.shape[-1] % 2:
        raise Unfit
    cosines, sines = (need(one.tensor).expand(whole.shape) for one in (cos, sin))
    found = Proposal("rotary", made.step if halves.whole.maker is None else min(made.step, _began(made)))
    put = found.tensors
    put["a"], put["b"] = halves.of(whole)
    put["o"], put["p"] = halves.of(result)
    put["c"], put["C"] = halves.of(cosines)
    put["s"], put["S"] = halves.of(sines)
    if not halves.signed and not bool(((cosines**2 + sines**2 - 1).abs() < 1e-2).all()):
        return None  # something else is done to the halves
    return found


def _began(made: Made) -> int:
    return min([made.step, *(one.maker.step for one in made.operands if one.maker is not None)])


def _product(operand: Operand) -> _Term | None:
    made = through(operand, _CASTS).maker
    if made is None or made.kind != "mul":
        return None
    one, two = made.get(0, "input"), made.get(1, "other")
    if number(two) == 1 and isinstance(one, Operand):  # xPos has a factor there
        return _product(one)
    return (one, two) if isinstance(one, Operand) and isinstance(two, Operand) else None


def _exchanged(operand: Operand, x: Operand) -> _Halves | None:
    """Whether this is `(-b, a)` of x with halves (a, b), or the same with another sign."""
    made = operand.maker
    while made is not None and made.kind in ("same", "shaped"):
        given = made.get(0, "input")
        made = given.maker if isinstance(given, Operand) else None
    if made is None or made.kind != "joined":
        return None
    parts = made.get(0, "tensors")
    if not isinstance(parts, tuple) or len(parts) != 2:
        return None
    first, second = parts
    signed = [made is not None and made.kind == "neg" for made in (first.maker, second.maker)]
    if all(signed):
        return None
    inner = [_unsigned(part) for part in parts]
    a, b = _half(inner[1]), _half(inner[0])
    stacked = made.name == "stack"
    if a is None or b is None or a[1:] != ("first", stacked) or b[1:] != ("second", stacked):
        return None
    return _Halves(x, a[2], signed[0]) if _is(a[0], x) and _is(b[0], x) else None


def _unsigned(operand: Operand) -> Operand:
    made = operand.maker
    given = made.get(0, "input") if made is not None and made.kind == "neg" else None
    return given if isinstance(given, Operand) else operand


def _half(operand: Operand) -> tuple[Operand, str, bool] | None:
    """Of which tensor this is which half, and whether it is every other feature."""
    made = through(operand, _CASTS).maker
    if made is None or made.kind != "part":
        return None
    whole = made.get(0, "input", made.get(0, "tensor"))
    if not isinstance(whole, Operand):
        return None
    if made.name in ("chunk", "split", "unbind", "tensor_split"):
        return _numbered(made, whole)
    key = made.get(1, "key")
    last = key[-1] if isinstance(key, tuple) else key
    size = whole.shape[-1]
    if not isinstance(last, slice) or (
        isinstance(key, tuple) and key[0] is not Ellipsis and len(key) < len(whole.shape)
    ):
        return None
    start, stop, step = last.indices(size)
    if step == 2 and start in (0, 1):
        return whole, ("first", "second")[start], True
    if step == 1 and (start, stop) in ((0, size // 2), (size // 2, size)):
        return whole, "second" if start else "first", False
    return None


def _numbered(made: Made, whole: Operand) -> tuple[Operand, str, bool] | None:
    at, dim = made.kwargs.get("#"), made.kwargs.get("dim", made.args[-1] if len(made.args) > 1 else 0)
    if at not in (0, 1) or dim not in (-1, len(whole.shape) - 1):
        return None
    name = ("first", "second")[at]
    if made.name == "unbind" and whole.shape[-1] == 2:  # of pairs that stand in a dimension of their own
        before = through(whole, frozenset(("same",))).maker
        inner = before.get(0, "input") if before is not None and before.kind == "shaped" else None
        return (inner, name, True) if isinstance(inner, Operand) else None
    return (whole, name, False) if 2 * made.shape[-1] == whole.shape[-1] else None


def _is(one: Operand, two: Operand) -> bool:
    one, two = through(one, _CASTS), through(two, _CASTS)
    return one.maker is two.maker if one.maker is not None or two.maker is not None else one.is_the(two)


# -- the two halves by themselves, and complex numbers ----------------------------------------------------


def rotated_in_parts(made: Made) -> Proposal | None:
    """`cat(a cos - b sin, b cos + a sin)`, or the same by `stack`."""
    parts = made.get(0, "tensors")
    if not isinstance(parts, tuple) or len(parts) != 2:
        return None
    first, second = (through(part, _CASTS).maker for part in parts)
    if first is None or second is None or first.kind != "sub" or second.kind != "add":
        return None
    terms = [_product(term) for one in (first, second) for term in (one.get(0, "input"), one.get(1, "other"))
             if isinstance(term, Operand)]  # fmt: skip
    if len(terms) != 4 or any(term is None for term in terms):
        return None
    for a, cos in _both(terms[0]):
        for b, sin in _both(terms[1]):
            if _pairs(terms[2], terms[3], a, b, cos, sin) or _pairs(terms[3], terms[2], a, b, cos, sin):
                return _of_parts(made, first, second, a, b, cos, sin)
    return None


def _both(term: _Term | None) -> list[_Term]:
    return [] if term is None else [term, term[::-1]]


def _pairs(one: _Term | None, two: _Term | None, a: Operand, b: Operand, cos: Operand, sin: Operand) -> bool:
    """Whether the second sum is `b cos + a sin`."""
    return any(_same(x, b) and _same(c, cos) for x, c in _both(one)) and any(
        _same(x, a) and _same(s, sin) for x, s in _both(two)
    )


def _same(one: Operand, two: Operand) -> bool:
    """The same tensor, or a view that was taken twice."""
    if _is(one, two):
        return True
    left, right = one.tensor, two.tensor
    if left is None or right is None:
        return False
    made, other = through(one, _CASTS).maker, through(two, _CASTS).maker
    if made is not None and other is not None and made.kind == other.kind and made.kind in ("cos", "sin"):
        angles = [each.get(0, "input") for each in (made, other)]
        return all(isinstance(each, Operand) for each in angles) and _is(*angles)
    return address(left) == address(right) and (left.shape, left.stride()) == (right.shape, right.stride())


def _of_parts(
    made: Made, first: Made, second: Made, a: Operand, b: Operand, cos: Operand, sin: Operand
) -> Proposal | None:
    found = Proposal("rotary", min(_began(first), _began(second)))
    put = found.tensors
    put["a"], put["b"], put["o"], put["p"] = need(a.tensor), need(b.tensor), need(first.result), need(second.result)
    for name, one in (("c", cos), ("s", sin)):
        put[name] = need(one.tensor).expand(put["a"].shape)
    put["C"], put["S"] = put["c"], put["s"]
    if put["a"].shape != put["b"].shape or put["a"].shape == put["a"].shape[:0]:
        raise Unfit
    return found


def rotated_by_complex_numbers(made: Made) -> Proposal | None:
    """`view_as_complex(x) * e^{i m θ}`: real parts and imaginary parts are the halves."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    turned = next((x for x in (one, two) if x.maker is not None and x.maker.kind == "complex"), None)
    if turned is None:
        return None
    x, by, out = need(turned.tensor), need((two if turned is one else one).tensor), need(made.result)
    if not x.is_complex() or not by.is_complex() or x.shape != out.shape:
        return None
    by = by.expand(x.shape)
    found = Proposal("rotary", made.step if turned.maker is None else turned.maker.step)
    for names, tensor in ((("a", "b"), x), (("o", "p"), out), (("c", "s"), by), (("C", "S"), by)):
        both = torch.view_as_real(tensor.resolve_conj())
        for name, part in zip(names, both.unbind(-1), strict=True):
            found.tensors[name] = part
    return found
