"""How far two tensors may be apart by rounding alone: what the step itself rounds, and what came in, grown by the step.

Both are in relative l2 of a token's vector. What came in was measured between the two runs, so that nothing adds up
along a deep model but what really grew there."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OWN = 4.0  # roundings of a step, in units: what two orders of the same sums, or a few operations, differ by
_GROWTH = 3.0  # how much a step may enlarge what came in: norms, sums that cancel, products
_STEEP = 12.0  # steps that look at differences of large numbers: softmax and what else has exponentials
_STEEP_STEPS = re.compile(r"softmax|attention|attend|attn|sdpa|exp|\bcos\b|\bsin\b|rotary|router|gate\b", re.IGNORECASE)
_HALF = 2.0**-12  # units above this are those of half precision
FEW = 4.0  # bounds up to which a difference may yet be rounding: in float32 it is taken for that, in half it is open


def bound(unit: float, came_in: Sequence[float], what: str) -> float:
    """The largest difference that rounding explains.

    Args:
        unit: unit roundoff of the coarser run.
        came_in: how far apart the inputs are.
        what: the step's name, class and text, which tell how steep it is.
    """
    growth = _STEEP if _STEEP_STEPS.search(what) else _GROWTH
    return own(unit) + growth * max(came_in, default=0.0)


def own(unit: float) -> float:
    """What a step itself rounds, whatever comes in."""
    return _OWN * unit


def half_precision(unit: float) -> bool:
    """Whether a unit roundoff is one of half precision (or less)."""
    return unit >= _HALF
