"""What rounding may do to a sum, whatever the order of its terms.

Each of the n - 1 additions rounds a partial sum, by at most u times the sum of all magnitudes: n u is never exceeded.
As a rule the roundings fall on both sides and cancel: with a probability of all but 1e-3 a sum, 4 sqrt(n) u is not
exceeded (Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019,
Theorem 2.4), and terms of ordinary runs stay far below. That needs terms that differ: where the same few come again and
again, so do their roundings, and of k distinct terms n / sqrt(k) of them add up on one side."""

from __future__ import annotations

import math

import numpy as np

from .value import Array

_FEW = 16  # terms of which n u is the smaller bound
_LOOKED_AT = 64  # terms that tell how many differ
_VARIED = 0.75  # the share of them that does so where all may


def sum_units(values: Array) -> Array:
    """For sums along the last axis: by how many units `u` of the sum of magnitudes rounding may be off."""
    return units(values.shape[-1], variety(values))


def units(terms: int, distinct: Array | float) -> Array:
    """By how many units a sum of so many terms may be off, of which so many are distinct (infinity: all)."""
    if terms <= _FEW:
        return np.full(np.shape(distinct), float(terms))
    found: Array = np.minimum(terms, 4.0 * math.sqrt(terms) + terms / np.sqrt(distinct))
    return found


def variety(values: Array) -> Array:
    """How many of the terms along the last axis are distinct, as far as a sample tells; infinity if it seems all are.
    Zeros do not count: they round nothing."""
    terms = values.shape[-1]
    if terms <= _FEW:
        return np.full(values.shape[:-1], np.inf)
    step = max(terms // _LOOKED_AT, 1)
    sample = np.sort(np.abs(values[..., : step * _LOOKED_AT : step]), axis=-1)
    there = sample != 0
    others = there.sum(-1)
    distinct = (there[..., 1:] & (sample[..., 1:] != sample[..., :-1])).sum(-1) + there[..., 0]
    found: Array = np.where(distinct >= _VARIED * others, np.inf, np.maximum(distinct, 1))
    return found
