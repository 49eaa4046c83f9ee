"""Residual sums on the tape: a sublayer's result added to what it was given, with the norm in front or behind."""

from __future__ import annotations

from .expressions.activation import PASSING, through
from .proposal import Proposal, need
from .tape import Made, Operand

_MOST = 96  # results that are looked at on the way back
_NORMS = frozenset(("layer_norm", "rms_norm"))
# What a sublayer does first with what it is given; a norm that is written out begins in other ways.
_FIRST = frozenset(
    ("linear", "matmul", "einsum", "fused_attention", "part", "shaped", "transpose", "permute", "same", "dropout")
)


def residual(made: Made) -> Proposal | None:
    """`x + F(norm(x))`, where nothing else of x enters the sublayer."""
    for x, y in _sum(made):
        since = _entered(x, y, _NORMS)
        if since is not None:
            found = Proposal("pre-norm-residual", since)
            found.tensors |= {"x": need(x.tensor), "y": need(y.tensor), "out": need(made.result)}
            return found
    return None


def norm_of_residual(made: Made) -> Proposal | None:
    """`norm(x + F(x))`: a norm of a sum, one part of which was made from the other."""
    given = made.norm_of if made.norm_of is not None else made.get(0, "input") if made.kind in _NORMS else None
    total = through(given, PASSING).maker if isinstance(given, Operand) else None
    if total is None or total.kind != "add" or not isinstance(given, Operand):
        return None
    for x, y in _sum(total):
        since = _entered(x, y, _FIRST)
        if since is not None:
            found = Proposal("post-norm-residual", since)
            found.tensors |= {"x": need(x.tensor), "y": need(y.tensor), "n": need(given.tensor)}
            return found
    return None


def _sum(made: Made) -> list[tuple[Operand, Operand]]:
    """Both parts of a sum of two tensors of one shape, in either order."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand) or one.shape != two.shape or len(one.shape) < 2:
        return []
    return [] if made.kwargs.get("alpha", 1) != 1 else [(one, two), (two, one)]


def _entered(x: Operand, y: Operand, kinds: frozenset[str]) -> int | None:
    """In which step the way from x to y began; None where there is none, or x is first given to something else than
    these kinds of functions."""
    since, waiting, seen = None, [y], set[int]()
    while waiting and len(seen) < _MOST:
        made = waiting.pop().maker
        if made is None or id(made) in seen:
            continue
        seen.add(id(made))
        for operand in _sources(made):
            if not _is(operand, x):
                waiting.append(operand)
            elif (made.kind if made.norm_of is None else "layer_norm") not in kinds:
                return None
            else:
                since = made.step if since is None else min(since, made.step)
    return since


def _sources(made: Made) -> list[Operand]:
    """What a result was made from: of a norm what was normalized, of a cast the tensor that was cast."""
    if made.norm_of is not None:
        return [made.norm_of]
    found = list(made.operands)
    return found[:1] if made.kind in ("same", "shaped", "expand") else found


def _is(one: Operand, two: Operand) -> bool:
    return one.maker is two.maker if one.maker is not None or two.maker is not None else one.is_the(two)
