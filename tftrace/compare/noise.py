"""How far two tensors may be apart by rounding alone: what the step itself rounds, and what came in, grown by the step.

Both are in relative l2 of a token's vector. What came in was measured between the two runs, so that nothing adds up
along a deep model but what really grew there."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OWN = 4.0  # roundings of a step, in units: what two orders of the same sums, or a few operations, differ by
_MIXED = 6.0  # the same where weights and inputs of one run were rounded to another dtype
_GROWTH = 3.0  # how much a step may enlarge what came in: norms, sums that cancel, products
_STEEP = 12.0  # steps that look at differences of large numbers: softmax and what else has exponentials
_STEEP_STEPS = re.compile(r"softmax|attention|attend|attn|sdpa|exp|rotary|router|gate\b", re.IGNORECASE)
_WAVES = re.compile(r"\b(cos|sin)\(")  # what they are given is an angle: its rounding is as large as the angle
ESTIMATED = 3.0  # how much larger than it is a difference may look in prints
_HALF = 2.0**-12  # units above this are those of half precision
FEW = 4.0  # bounds up to which a difference may yet be rounding: in float32 it is taken for that, in half it is open


def bound(unit: float, came_in: Sequence[float], what: str = "", largest: float = 0.0, mixed: bool = False) -> float:
    """The largest difference that rounding explains.

    Args:
        unit: unit roundoff of the coarser run.
        came_in: how far apart the inputs are.
        what: the step's name, class and text, which tell how steep it is.
        largest: the largest number that came in.
        mixed: whether the two runs have other dtypes, so that weights were rounded, too.
    """
    growth = _STEEP if _STEEP_STEPS.search(what) else _GROWTH
    if _WAVES.search(what):
        growth = max(growth, largest)
    return (_MIXED if mixed else _OWN) * unit + growth * max(came_in, default=0.0)


def grown(unit: float, came_in: Sequence[float], what: str = "", largest: float = 0.0) -> float:
    """How far rounding alone would have brought two tensors apart that differ for another reason: roundings add up as
    squares, since they know nothing of each other."""
    growth = max(1.0, largest) if _WAVES.search(what) else 1.0
    before = growth * max(came_in, default=0.0)
    return float((before**2 + (growth * unit) ** 2) ** 0.5)


def healed(unit: float, left: float) -> float:
    """The largest difference that counts as healed where another came in: what rounding alone would have `left`."""
    return _OWN * unit + 2 * left


def half_precision(unit: float) -> bool:
    """Whether a unit roundoff is one of half precision (or less)."""
    return unit >= _HALF
