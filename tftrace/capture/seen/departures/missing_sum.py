"""A sublayer whose result takes the place of what it was given, beside others whose result is added to it."""

from __future__ import annotations

from typing import NamedTuple

from ..expressions.activation import PASSING, through
from ..proposal import Proposal, need
from ..tape import Made, Operand

_MOST = 128  # results that are looked at on the way back
_NORMS = frozenset(("layer_norm", "rms_norm"))
_MIXES = frozenset(("relu", "gelu", "silu", "mish", "tanh", "erf", "sigmoid", "softmax", "fused_attention"))


class Missing(NamedTuple):
    """A sublayer whose result was not added to x so far; a norm may come between, as in a sandwich."""

    proposal: Proposal
    x: Made  # what made x

    def is_made_up(self, made: Made) -> bool:
        """Whether x is part of this later sum."""
        return any(through(one, PASSING).maker is self.x for one in made.operands)


def missing_sum(y: Made, sums: list[Made], normed: list[Made]) -> Missing | None:
    """The sublayer that ends in a result, if it began with the norm of one of these sums, which the same call had made
    of other sublayers, or with one of these norms of sums, and is not added to that."""
    began = None if _is_norm(y) else _beginning(y, [*sums, *normed])
    if began is None:
        return None
    post = began in normed
    x = began.norm_of or began.get(0, "input")
    if not isinstance(x, Operand) or x.shape != y.shape:
        return None
    source = began if post else through(x, PASSING).maker
    if source is None or not (post or source in sums):
        return None
    found = Proposal("post-norm-residual" if post else "pre-norm-residual", began.step)
    found.tensors |= {"x": need(began.result if post else x.tensor), "y": need(y.result)}
    found.tensors["n" if post else "out"] = found.tensors["y"]
    return Missing(found, source)


def _beginning(y: Made, known: list[Made]) -> Made | None:
    """The one norm that a sublayer begins with; None where it is no sublayer, or has sums of its own."""
    norm, mixes, seen, waiting = None, False, set[int](), [y]
    while waiting and len(seen) < _MOST:
        made = waiting.pop()
        if id(made) in seen:
            continue
        seen.add(id(made))
        mixes = mixes or made.kind in _MIXES
        if _is_norm(made):
            if norm is not None and made is not norm:
                return None
            norm = made
        elif made in known or (made.kind == "add" and _of_two(made)):
            return None
        else:
            waiting += [one.maker for one in made.operands if one.maker is not None]
    return norm if mixes else None


def normalized(made: Made) -> Made | None:
    """What made the tensor that a norm was given."""
    given = made.norm_of or made.get(0, "input")
    return through(given, PASSING).maker if _is_norm(made) and isinstance(given, Operand) else None


def _is_norm(made: Made) -> bool:
    return made.kind in _NORMS or made.norm_of is not None


def _of_two(made: Made) -> bool:
    """Whether this is a sum of two tensors as large as it is, as a residual is; a bias is smaller."""
    parts = [one for one in made.operands if one.shape == made.shape]
    return len(parts) == 2 and len(made.shape) == 3
