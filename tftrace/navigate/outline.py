"""Which steps are visible rows of the tree: folded calls hide their contents, a filter all but its matches.

The rows are computed on whole columns, so that a fold in a trace of a million steps takes a few milliseconds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..trace import schema
from ..trace.trace import Trace


class Outline:
    """The rows of the tree and the positions they show. Without folds and filter, row and position are equal."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._folded = np.zeros(len(trace), bool)
        self._wanted: np.ndarray | None = None
        self._rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._folded) if self._rows is None else len(self._rows)

    def position(self, row: int) -> int:
        """The step shown in a row, clamped to the rows there are."""
        row = max(0, min(row, len(self) - 1))
        return row if self._rows is None else int(self._rows[row])

    def row(self, position: int) -> int:
        """The row of a step, or of the last visible step before it."""
        if self._rows is None:
            return position
        return max(0, int(np.searchsorted(self._rows, position, side="right")) - 1)

    def shows(self, position: int) -> bool:
        """Whether a step is visible."""
        return len(self) > 0 and self.position(self.row(position)) == position

    def forget(self) -> None:
        """Drop folds and filter, because the trace has grown."""
        self._folded, self._wanted = np.zeros(len(self._trace), bool), None
        self._refresh()

    # -- folds ----------------------------------------------------------------------------------------

    @property
    def folded(self) -> list[int]:
        """Positions of the folded calls."""
        found: list[int] = np.flatnonzero(self._folded).tolist()
        return found

    def is_folded(self, position: int) -> bool:
        """Whether a call hides its contents; a filter overrides folds."""
        return self._wanted is None and bool(self._folded[position])

    def foldable(self, position: int) -> bool:
        """Whether a step is a call that contains steps."""
        return bool(_foldable(self._trace)[position])

    def fold(self, positions: Iterable[int], folded: bool = True) -> None:
        """Fold or unfold these calls; positions that are not foldable are ignored."""
        at = np.fromiter(positions, np.int64)
        at = at[(at >= 0) & (at < len(self._folded))]
        self._folded[at[_foldable(self._trace)[at]]] = folded
        self._refresh()

    def fold_all(self, but: int) -> None:
        """Fold every call except those around the step `but`, which stays visible."""
        self._folded = _foldable(self._trace).copy()
        self._folded[_around(self._trace, but)] = False
        self._refresh()

    def unfold_all(self) -> None:
        """Unfold every call."""
        self._folded[:] = False
        self._refresh()

    def reveal(self, position: int) -> bool:
        """Unfold the calls that hide a step; return whether there were any."""
        around = [at for at in _around(self._trace, position) if self._folded[at]]
        if around:
            self.fold(around, folded=False)
        return bool(around)

    # -- filter ---------------------------------------------------------------------------------------

    @property
    def filtered(self) -> bool:
        """Whether a filter is set; it overrides folds."""
        return self._wanted is not None

    def filter(self, wanted: np.ndarray | None) -> None:
        """Show only the steps for which the boolean column is true and those around them; None shows all."""
        self._wanted = wanted
        self._refresh()

    def wanted(self, position: int) -> bool:
        """Whether a step itself matches the filter, not only a step inside it."""
        return self._wanted is None or bool(self._wanted[position])

    def _refresh(self) -> None:
        if self._wanted is not None:
            before = np.append(0, np.cumsum(self._wanted))
            self._rows = np.flatnonzero(before[self._trace.ends] > before[:-1])
        elif self._folded.any():
            self._rows = np.flatnonzero(~_inside(self._trace, np.flatnonzero(self._folded)))
        else:
            self._rows = None


def _inside(trace: Trace, calls: np.ndarray) -> np.ndarray:
    """Which steps are inside one of these calls."""
    size = len(trace)
    change = np.zeros(size + 1, np.int32)
    change[calls + 1] += 1
    change -= np.bincount(trace.ends[calls], minlength=size + 1).astype(np.int32)
    found: np.ndarray = np.cumsum(change)[:size] > 0
    return found


def _foldable(trace: Trace) -> np.ndarray:
    return trace.derived(_calls_with_steps)


def _calls_with_steps(trace: Trace) -> np.ndarray:
    codes, words = trace.words("kind")
    calls = np.isin(codes, [at for at, word in enumerate(words) if word in schema.CALLS])
    found: np.ndarray = calls & (trace.ends > np.arange(1, len(trace) + 1))
    return found


def _around(trace: Trace, position: int) -> list[int]:
    found = []
    above = trace.parent(position)
    while above is not None:
        found.append(above)
        above = trace.parent(above)
    return found
