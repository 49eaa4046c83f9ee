"""A measure along the steps of a forward pass, in as many columns as there is room for: what the bar below the tree
draws. Time is what a step took itself, without the steps inside it."""

from __future__ import annotations

import numpy as np

from ..trace import schema
from ..trace.trace import Trace

MEASURES = ("time", "l2")


def root(trace: Trace, position: int) -> int:
    """The outermost call around a step: where its forward pass begins."""
    while (above := trace.parent(position)) is not None:
        position = above
    return position


def starts(first: int, end: int, columns: int) -> np.ndarray:
    """For each column the first of the steps `first` to `end` that it stands for."""
    return first + np.arange(columns) * (end - first) // max(1, columns)


def measured(trace: Trace, first: int, end: int, columns: int, measure: str) -> np.ndarray:
    """For each column the nanoseconds its steps took themselves, or the largest L2 norm that one of them returned;
    NaN where nothing was measured."""
    values = trace.derived(_own_time if measure == "time" else _norms)
    at = starts(first, end, columns)
    together = np.add if measure == "time" else np.fmax
    found: np.ndarray = values[at] if end - first <= columns else together.reduceat(values[:end], at)
    return found


def column_of(position: int, first: int, end: int, columns: int) -> int:
    """The column that a step stands in."""
    return int(np.searchsorted(starts(first, end, columns), position, side="right")) - 1


def _own_time(trace: Trace) -> np.ndarray:
    taken = np.nan_to_num(trace.column("duration_ns").astype(np.float64))
    inside = trace.parents >= 0
    own = taken - np.bincount(trace.parents[inside], weights=taken[inside], minlength=len(taken))
    found: np.ndarray = np.maximum(own, 0)
    return found


def norms(trace: Trace) -> np.ndarray:
    """For each step the largest L2 norm of a tensor that it returned; NaN where it returned none."""
    return trace.derived(_norms)


def _norms(trace: Trace) -> np.ndarray:
    found = np.full(len(trace), np.nan)
    codes, words = trace.words("role", "tensors")
    rows = np.flatnonzero(np.isin(codes, [at for at, word in enumerate(words) if word == schema.OUTPUT]))
    np.fmax.at(found, trace.tensor_positions[rows], trace.column("l2", "tensors")[rows])
    return found
