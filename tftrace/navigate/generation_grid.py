"""A generation as a grid of calls: one column per forward pass (token), one row per layer.

A row is the largest module that is at most one layer: the embeddings, each layer, the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..trace import schema
from ..trace.trace import Trace
from . import findings
from .difference_kinds import BY_DESIGN
from .siblings import layer_entries
from .timeline import MEASURES, norms

EMPTY, PLAIN, DESIGN, DIFFERS, BROKEN = range(5)  # the states of a cell, from best to worst


@dataclass(frozen=True)
class Grid:
    """The grid: its rows by module name, in order of their first call, and its columns by forward pass."""

    rows: list[str]
    forwards: list[int]
    cells: np.ndarray  # (rows, columns): position of the row's first call in the forward, -1 if there is none
    found: np.ndarray  # (rows, columns): EMPTY, PLAIN, DESIGN, DIFFERS or BROKEN, the worst of what is inside the call

    def measured(self, trace: Trace, measure: str) -> np.ndarray:
        """The measure of each cell: nanoseconds of its call (`"time"`) or L2 norm of its result; NaN if unknown."""
        values = trace.column("duration_ns").astype(np.float64) if measure == MEASURES[0] else norms(trace)
        return np.where(self.cells >= 0, values[self.cells], np.nan)

    def cell_of(self, trace: Trace, position: int) -> tuple[int, int] | None:
        """Row and column of the cell that contains a step, else of the cell before it; None outside the grid."""
        forward = trace.column("forward")[position]
        column = int(np.searchsorted(self.forwards, forward)) if forward == forward else len(self.forwards)
        if column >= len(self.forwards) or self.forwards[column] != forward or not self.rows:
            return None
        cells = self.cells[:, column]
        before = np.where((cells >= 0) & (cells <= position), cells, -1)
        return int(before.argmax()), column


def grid(trace: Trace) -> Grid:
    """The generation grid of a trace, cached with the trace."""
    return trace.derived(_grid)


def _grid(trace: Trace) -> Grid:
    calls = _cell_calls(trace)
    codes, names = trace.words("name")
    forward = trace.column("forward")[calls]
    calls, forward = calls[forward == forward], forward[forward == forward]
    kinds, first = np.unique(codes[calls], return_index=True)
    order = np.argsort(_first_in_forward(trace, calls[first]), kind="stable")
    place = np.empty(len(kinds), np.int64)
    place[order] = np.arange(len(kinds))
    forwards = np.unique(forward)
    row, column = place[np.searchsorted(kinds, codes[calls])], np.searchsorted(forwards, forward)
    cells = np.full((len(kinds), len(forwards)), -1, np.int64)
    cells[row[::-1], column[::-1]] = calls[::-1]  # in reverse, so that the first of several calls wins
    found = np.where(cells >= 0, PLAIN, EMPTY).astype(np.int8)
    verdicts = findings.verdicts(trace)
    design, differs = (verdicts == findings.VERDICTS.index(word) for word in (BY_DESIGN, schema.DIFFERS))
    broken = findings.alarming(trace)
    for what, column_of in ((DESIGN, design), (DIFFERS, differs), (BROKEN, broken)):
        before = np.append(0, np.cumsum(column_of))
        inside = before[trace.ends[calls]] > before[calls]
        np.maximum.at(found, (row[inside], column[inside]), what)
    return Grid([names[code] for code in kinds[order]], forwards.astype(np.int64).tolist(), cells, found)


def _first_in_forward(trace: Trace, calls: np.ndarray) -> np.ndarray:
    """The distance in steps of each call from the start of its forward pass; it gives the order of the rows."""
    roots = np.flatnonzero(trace.parents < 0)
    distance: np.ndarray = calls - roots[np.searchsorted(roots, calls, side="right") - 1]
    return distance


def _cell_calls(trace: Trace) -> np.ndarray:
    """Positions of the calls that become cells: modules that contain no layer, inside modules that do."""
    kinds, words = trace.words("kind")
    is_module = np.isin(kinds, [at for at, word in enumerate(words) if word == schema.MODULE])
    modules = np.flatnonzero(is_module)
    before = np.append(0, np.cumsum(np.isin(np.arange(len(trace)), layer_entries(trace))))
    splits = np.zeros(len(trace), bool)
    splits[modules] = before[trace.ends[modules]] > before[modules + 1]
    splits[trace.parents < 0] = True  # a model without layers is split into its direct children
    above = trace.parents[modules]
    while (lines := (above >= 0) & ~is_module[above]).any():
        above[lines] = trace.parents[above[lines]]
    cells: np.ndarray = modules[~splits[modules] & (above >= 0) & splits[above]]
    return cells
