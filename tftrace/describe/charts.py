"""The numbers of a tensor made small enough to look at: a histogram, a plane of it, a line of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TraceError
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from ..trace.values import read_value

_BARS = " ▁▂▃▄▅▆▇█"
_SAMPLE = 1 << 20  # cells that a histogram looks at; of a larger tensor every n-th


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many cells fall into each of equal parts of [low, high], over finite cells."""

    counts: np.ndarray
    low: float
    high: float


def kept(trace: Trace, row: TensorRow) -> np.ndarray | None:
    """The tensor's numbers where the recording kept them whole and they can be read; else None."""
    if row.value is None:
        return None
    try:
        return read_value(trace.path, row.value, row.shape)
    except TraceError:
        return None


def histogram(values: np.ndarray, bins: int) -> Histogram | None:
    """None where there is no finite number."""
    cells = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    cells = np.abs(cells) if np.iscomplexobj(cells) else cells
    cells = cells.astype(np.float64)
    cells = cells[np.isfinite(cells)]
    if not cells.size:
        return None
    low, high = float(cells.min()), float(cells.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return Histogram(np.histogram(cells, bins=bins, range=(low, high))[0], low, high)


def bars(values: Sequence[float | None] | np.ndarray, low: float | None = None) -> str:
    """A line of bars, one a value, from `low` (default: the least) to the largest; a gap where there is no value."""
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
    """Bars from zero over `height` rows, the top one first; what is not zero is seen."""
    most = max(1, int(counts.max(initial=0)))
    eighths = np.ceil(counts / most * 8 * height).astype(int)
    return ["".join(_BARS[min(8, max(0, int(n) - 8 * row))] for n in eighths) for row in reversed(range(height))]


def plane(values: np.ndarray, chosen: Sequence[int], rows: int, columns: int) -> np.ndarray:
    """The slice of `values` along axes `rows` and `columns` (-1: no such axis), `chosen` telling the index of each
    other axis; always two-dimensional."""
    index = tuple(slice(None) if at in (rows, columns) else min(chosen[at], n - 1) for at, n in enumerate(values.shape))
    found = values[index]
    if rows >= 0 and columns >= 0 and rows > columns:
        found = found.T
    if found.ndim == 2:
        return found
    return found.reshape(1, -1) if rows < 0 else found.reshape(-1, 1)


def shrunk(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """At most `height` by `width` cells; each holds the value of its block that is farthest from zero, so that an
    outlier is never averaged away."""
    out = values.astype(np.float64)
    for axis, most in ((0, height), (1, width)):
        size = out.shape[axis]
        if size > most > 0:
            edges = np.linspace(0, size, most + 1).astype(int)[:-1]
            high, low = np.maximum.reduceat(out, edges, axis=axis), np.minimum.reduceat(out, edges, axis=axis)
            out = np.where(np.abs(high) >= np.abs(low), high, low)
    return out
