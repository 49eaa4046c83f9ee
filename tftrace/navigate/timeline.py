"""A measure along the steps of a forward pass, binned into the columns of the bar below the tree.

Time is self time: the duration of a step without the steps inside it."""

from __future__ import annotations

import numpy as np

from ..trace import schema
from ..trace.trace import Trace

MEASURES = ("time", "l2")


def root(trace: Trace, position: int) -> int:
    """The outermost call around a step, which column_starts its forward pass."""
    while (above := trace.parent(position)) is not None:
        position = above
    return position


def column_starts(first: int, end: int, columns: int) -> np.ndarray:
    """The first step of each column, when steps `first` to `end` (exclusive) are spread over `columns`."""
    return first + np.arange(columns) * (end - first) // max(1, columns)


def measured(trace: Trace, first: int, end: int, columns: int, measure: str) -> np.ndarray:
    """Aggregate a measure over each column of steps.

    Args:
        trace: The trace.
        first: The first step.
        end: The step after the last.
        columns: How many columns to fill.
        measure: `"time"` for the summed self time in nanoseconds, `"l2"` for the largest L2 norm of a result.

    Returns:
        One float per column; NaN where nothing was measured.
    """
    values = trace.derived(_self_time if measure == "time" else _norms)
    at = column_starts(first, end, columns)
    combine = np.add if measure == "time" else np.fmax
    found: np.ndarray = values[at] if end - first <= columns else combine.reduceat(values[:end], at)
    return found


def column_of(position: int, first: int, end: int, columns: int) -> int:
    """The column that contains a step."""
    return int(np.searchsorted(column_starts(first, end, columns), position, side="right")) - 1


def _self_time(trace: Trace) -> np.ndarray:
    """The self time of each step in nanoseconds, never negative."""
    taken = np.nan_to_num(trace.column("duration_ns").astype(np.float64))
    inside = trace.parents >= 0
    own = taken - np.bincount(trace.parents[inside], weights=taken[inside], minlength=len(taken))
    found: np.ndarray = np.maximum(own, 0)
    return found


def norms(trace: Trace) -> np.ndarray:
    """The largest L2 norm of each step's results; NaN for a step without results."""
    return trace.derived(_norms)


def _norms(trace: Trace) -> np.ndarray:
    found = np.full(len(trace), np.nan)
    codes, words = trace.words("role", "tensors")
    rows = np.flatnonzero(np.isin(codes, [at for at, word in enumerate(words) if word == schema.OUTPUT]))
    np.fmax.at(found, trace.tensor_positions[rows], trace.column("l2", "tensors")[rows])
    return found
