"""How far two tensors may be apart by rounding alone: what the step itself rounds, and what came in, grown by the step.

Both are in relative l2 of a token's vector. What came in was measured between the two runs, so that nothing adds up
along a deep model but what really grew there.

A result in which much cancelled (a product of two vectors at right angles, the mean of what has none, the difference of
two numbers that are nearly equal) has the errors of what cancelled, not of the little that is left (Higham 2002, 1.7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from .alignment.side import UNITS, Made

_OWN = 4.0  # roundings of a step, in units: what two orders of the same sums, or a few operations, differ by
_MIXED = 6.0  # the same where weights and inputs of one run were rounded to another dtype
_GROWTH = 3.0  # how much a step may enlarge what came in: norms, sums that cancel, products
_STEEP = 12.0  # steps that look at differences of large numbers: softmax and what else has exponentials
_STEEP_STEPS = re.compile(r"softmax|attention|attend|attn|sdpa|exp|rotary|router|gate\b", re.IGNORECASE)
_WAVES = re.compile(r"\b(cos|sin)\(")  # what they are given is an angle: its rounding is as large as the angle
ESTIMATED = 3.0  # how much larger than it is a difference may look in prints
_HALF = 2.0**-12  # units above this are those of half precision
FEW = 4.0  # bounds up to which a difference may yet be rounding: in float32 it is taken for that, in half it is open
_PRODUCT = re.compile(r"matmul|\bbmm\b|\bmm\b|einsum|\bdot\b|\w @ \w|baddbmm")
_SCALED = re.compile(r"\) \* \w|\w \* \w+\(")  # a product that is multiplied by a number as well
_MEAN = re.compile(r"\bmean\(")
_SUM = re.compile(r"\bsum\(")
_POWERS = re.compile(r"pow\(|square\(|\*\* ?2|\bvar\(|\babs\(|\bnorm\(|exp\(|softmax")  # what is summed has one sign
_DIFFERENCE = re.compile(r"\w\)* - \w|\w\)* \+ \w")
_MOST = 1e12  # times that a result is smaller than what cancelled


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


def finer(unit: float) -> str:
    """The dtype to record both runs in where a difference cannot be told with this unit roundoff."""
    return "float32" if unit > UNITS["float32"] else "float64"


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


def cancelled(text: str, result: Made, inputs: Sequence[Made], weight: Made | None = None) -> float:
    """How many times smaller a result is than unrelated numbers of these sizes would leave; 1 where nothing cancels.

    Args:
        text: the line, or the name and class of the step.
        result: what it made.
        inputs: the tensors that it was made from.
        weight: the matrix that a linear layer multiplies by.
    """
    length = result.statistics[4]
    expected = _expected(text, result, [one for one in inputs if one.statistics[4] == one.statistics[4]], weight)
    if not expected or length != length:
        return 1.0
    return min(max(1.0, expected / max(length, expected / _MOST)), _MOST)


def _expected(text: str, result: Made, inputs: Sequence[Made], weight: Made | None) -> float:
    """The length that a result of unrelated numbers would have; 0 where that is not known."""
    if not inputs:
        return 0.0
    first = max(inputs, key=lambda one: one.numel)
    if weight is not None and len(weight.shape) == 2:
        given = next((one for one in inputs if one.shape[-1:] == weight.shape[1:]), None)
        return 0.0 if given is None else given.statistics[4] * weight.statistics[4] / float(weight.shape[1] ** 0.5)
    if _PRODUCT.search(text):
        scales = [one.statistics[4] for one in inputs if one.numel == 1] if _SCALED.search(text) else []
        return _product(result, inputs) * prod(scales)
    if _POWERS.search(text):
        return 0.0
    fewer = first.numel / max(result.numel, 1)
    if _MEAN.search(text) and fewer > 1:
        return first.statistics[4] / fewer
    if _SUM.search(text) and fewer > 1:
        return first.statistics[4]
    if _DIFFERENCE.search(text):
        return max((one.statistics[4] for one in inputs if one.numel == result.numel), default=0.0)
    return 0.0


def _product(result: Made, inputs: Sequence[Made]) -> float:
    """Of two stacks of matrices, as many in either: √(rows·columns) products, each over the numbers that they share."""
    pairs = [(a, b) for at, a in enumerate(inputs) for b in inputs[at + 1 :] if len(a.shape) == len(b.shape) > 1]
    for one, other in pairs:
        stacked = 1
        for ours, theirs in zip(one.shape[:-2], other.shape[:-2], strict=True):
            stacked *= ours if ours == theirs else 1
        shared = (one.numel * other.numel / max(result.numel, 1) / stacked) ** 0.5
        if shared >= 1 and float(shared).is_integer():
            return one.statistics[4] * other.statistics[4] / float((shared * stacked) ** 0.5)
    return 0.0
