"""The numbers of a tensor reduced to what fits a screen: a histogram, a plane, a line of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TraceError
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from ..trace.values import read_value

_BARS = " ▁▂▃▄▅▆▇█"
_SAMPLE = 1 << 20  # cells that a histogram counts; a larger tensor is sampled


@dataclass(frozen=True, slots=True)
class Histogram:
    """The numbers of finite cells in equal bins of [low, high]."""

    counts: np.ndarray
    low: float
    high: float


def kept_values(trace: Trace, row: TensorRow) -> np.ndarray | None:
    """The values of a tensor, in its shape; None if they were not kept or cannot be read."""
    if row.value is None:
        return None
    try:
        return read_value(trace.path, row.value, row.shape)
    except TraceError:
        return None


def histogram(values: np.ndarray, bins: int) -> Histogram | None:
    """Count the values in `bins` equal bins; None if none is finite. Complex values count by magnitude."""
    cells = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    cells = np.abs(cells) if np.iscomplexobj(cells) else cells
    cells = cells.astype(np.float64)
    cells = cells[np.isfinite(cells)]
    if not cells.size:
        return None
    low, high = float(cells.min()), float(cells.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    half = high / 2 - low / 2  # not the whole width, which float64 may not hold
    place = ((cells / 2 - low / 2) / half * bins).astype(np.int64) if half else np.zeros(len(cells), np.int64)
    return Histogram(np.bincount(np.minimum(place, bins - 1), minlength=bins), low, high)


def bars(values: Sequence[float | None] | np.ndarray, low: float | None = None) -> str:
    """A line of bars, one per value, from `low` (default: the smallest value) to the largest, with gaps for None."""
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return " " * len(numbers)
    start = float(finite.min()) if low is None else low
    spread = float(finite.max()) - start
    scaled = np.full(len(numbers), 0.5) if spread <= 0 else (numbers - start) / spread
    levels = np.where(np.isfinite(numbers), 1 + np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * (len(_BARS) - 2)), 0)
    return "".join(_BARS[level] for level in levels.astype(int))


def tall_bars(counts: np.ndarray, height: int) -> list[str]:
    """Bars of `height` rows, the top row first; every count above zero is visible."""
    most = max(1, int(counts.max(initial=0)))
    eighths = np.ceil(counts / most * 8 * height).astype(int)
    return ["".join(_BARS[min(8, max(0, int(n) - 8 * row))] for n in eighths) for row in reversed(range(height))]


def take_plane(values: np.ndarray, index: Sequence[int], rows: int, columns: int) -> np.ndarray:
    """Take a two-dimensional slice of an array.

    Args:
        values: The array.
        index: The index along each axis; ignored for the two axes of the plane.
        rows: The axis that becomes the rows, or -1 for a single row.
        columns: The axis that becomes the columns, or -1 for a single column.

    Returns:
        Always two dimensions.
    """
    where = tuple(slice(None) if at in (rows, columns) else min(index[at], n - 1) for at, n in enumerate(values.shape))
    found = values[where]
    if rows >= 0 and columns >= 0 and rows > columns:
        found = found.T
    if found.ndim == 2:
        return found
    return found.reshape(1, -1) if rows < 0 else found.reshape(-1, 1)


def shrink(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reduce a plane to at most `height` by `width` cells.

    Each cell is the value of its block with the largest magnitude, so that outliers stay visible.
    """
    out = values.astype(np.float64)
    for axis, most in ((0, height), (1, width)):
        size = out.shape[axis]
        if size > most > 0:
            edges = np.linspace(0, size, most + 1).astype(int)[:-1]
            high, low = np.maximum.reduceat(out, edges, axis=axis), np.minimum.reduceat(out, edges, axis=axis)
            out = np.where(np.abs(high) >= np.abs(low), high, low)
    return out
