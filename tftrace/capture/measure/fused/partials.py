"""The rows that the programs of a kernel write, one for each share of a tensor, and how they are merged on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..summary import Summary

# The columns; the last three are sums: of numbers, of squares, and of squared differences from the row's own mean.
KNOWN, NAN, INF, ZERO, LOW, HIGH, TOTAL, SQUARES, SPREAD = range(9)
WIDTH = 9


def merged(table: np.ndarray, counts: Sequence[int]) -> list[Summary]:
    """Merge rows into the summaries of tensors.

    Args:
        table: The rows of all tensors, one tensor after the other; float64 of shape [rows, WIDTH].
        counts: How many rows each tensor has, at least one.

    Means and spreads are merged without cancellation (Chan, Golub and LeVeque 1983).
    """
    if not counts:
        return []
    first = np.cumsum([0, *counts[:-1]])
    at = table.T
    known, nan, inf, zero, total, squares = (
        np.add.reduceat(at[column], first) for column in (KNOWN, NAN, INF, ZERO, TOTAL, SQUARES)
    )
    low, high = np.minimum.reduceat(at[LOW], first), np.maximum.reduceat(at[HIGH], first)
    mean = total / np.maximum(known, 1)
    away = at[TOTAL] / np.maximum(at[KNOWN], 1) - np.repeat(mean, counts)
    spread = np.add.reduceat(at[SPREAD] + at[KNOWN] * away * away, first)
    spread = np.where(low == high, 0.0, np.maximum(spread, 0.0))
    mean = np.where(low == high, low, mean)
    std, l2 = np.sqrt(spread / np.maximum(known, 1)), np.sqrt(squares)
    numbers = zip(*(column.tolist() for column in (mean, std, low, high, l2)), strict=True)
    whole = zip(*(column.astype(np.int64).tolist() for column in (nan, inf, zero)), strict=True)
    return [
        Summary(*five, *three) if some else Summary(None, None, None, None, None, *three)
        for some, five, three in zip(known.tolist(), numbers, whole, strict=True)
    ]
