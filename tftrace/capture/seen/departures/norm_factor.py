"""A number that the result of a norm is multiplied by before anything else is done to it."""

from __future__ import annotations

from ..expressions.activation import PASSING, through
from ..expressions.scale import number
from ..norms import is_own
from ..proposal import Proposal, need
from ..tape import Made, Operand

_NORMS = frozenset(("layer_norm", "rms_norm"))


def norm_times_number(made: Made) -> Proposal | None:
    """`norm(x) * 1.1`, where no attention is scaled in this way. A norm that is written out tells by itself of a number
    beside its weights."""
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (one, two) if number(two) is not None or made.kind == "div" else (two, one)
    by = number(two)
    if not by or by == 1 or not isinstance(one, Operand):
        return None
    by = by if made.kind == "mul" else 1 / by
    norm = through(one, PASSING).maker
    if norm is None or not (norm.kind in _NORMS or (norm.kind == "add" and norm.norm_of is not None)):
        return None
    if not is_own(by, made.shape[-1], len(made.shape)):
        return None
    found = Proposal("norm-factor", made.step)
    found.tensors |= {"n": need(one.tensor), "out": need(made.result)}
    found.values["f"] = by
    return found
