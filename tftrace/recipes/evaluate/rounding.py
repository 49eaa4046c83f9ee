"""Bounds the rounding error of a sum, for any order of its terms, relative to the sum of their magnitudes.

Each of the n - 1 additions rounds a partial sum, by at most u times the sum of all magnitudes, so the error never
exceeds n u. Rounding errors of different signs usually cancel: with a probability of at least 1 - 1e-3 per sum, the
error stays below 4 sqrt(n) u (Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci.
Comput. 41(5), 2019, Theorem 2.4), and in ordinary runs far below. This assumes that the terms differ. If a few terms
repeat, so do their rounding errors, and of k distinct terms n / sqrt(k) may add up with the same sign."""

from __future__ import annotations

import math

import numpy as np

from .value import Array

_FEW = 16  # terms up to which n u is the smaller bound
_LOOKED_AT = 64  # size of the sample that estimates how many terms differ
_VARIED = 0.75  # if this share of the sample is distinct, all terms count as distinct


def sum_units(values: Array) -> Array:
    """The bound for sums along the last axis, in units of `u` times the sum of magnitudes; one less axis."""
    return units(values.shape[-1], distinct_terms(values))


def units(terms: int, distinct: Array | float) -> Array:
    """The bound for a sum of `terms` terms, of which `distinct` are distinct (infinity for all), in the same units."""
    if terms <= _FEW:
        return np.full(np.shape(distinct), float(terms))
    found: Array = np.minimum(terms, 4.0 * math.sqrt(terms) + terms / np.sqrt(distinct))
    return found


def distinct_terms(values: Array) -> Array:
    """Estimate from a sample how many terms along the last axis are distinct; infinity if all seem to be.

    Zeros do not count, because adding them rounds nothing."""
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
