"""A generation as a grid: a forward pass (a token) is a column, a layer a row, and each cell a call.

Rows are the largest modules that are no more than a layer: the embeddings, each layer, the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..trace import schema
from ..trace.trace import Trace
from . import findings
from .siblings import entered
from .timeline import MEASURES, norms

EMPTY, PLAIN, DIFFERS, BROKEN = range(4)  # what a cell holds; the later is the worse


@dataclass(frozen=True)
class Grid:
    """Rows by name, in order of their first call; columns by forward."""

    rows: list[str]
    forwards: list[int]
    cells: np.ndarray  # position of the first call of a row in a forward, -1 where there is none
    found: np.ndarray  # EMPTY, PLAIN, DIFFERS or BROKEN, of all inside the call

    def measured(self, trace: Trace, measure: str) -> np.ndarray:
        """For each cell the nanoseconds of the call, or the L2 norm of what it returned; NaN where not measured."""
        values = trace.column("duration_ns").astype(np.float64) if measure == MEASURES[0] else norms(trace)
        return np.where(self.cells >= 0, values[self.cells], np.nan)

    def cell_of(self, trace: Trace, position: int) -> tuple[int, int] | None:
        """Row and column of the call that a step stands in; of the one before it, where it stands in none."""
        forward = trace.column("forward")[position]
        column = int(np.searchsorted(self.forwards, forward)) if forward == forward else len(self.forwards)
        if column >= len(self.forwards) or self.forwards[column] != forward or not self.rows:
            return None
        cells = self.cells[:, column]
        before = np.where((cells >= 0) & (cells <= position), cells, -1)
        return int(before.argmax()), column


def grid(trace: Trace) -> Grid:
    """The grid of a trace, worked out once."""
    return trace.derived(_grid)


def _grid(trace: Trace) -> Grid:
    calls = _rows(trace)
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
    cells[row[::-1], column[::-1]] = calls[::-1]  # of several calls the first
    found = np.where(cells >= 0, PLAIN, EMPTY).astype(np.int8)
    differs = findings.verdicts(trace) == findings.VERDICTS.index(schema.DIFFERS)
    for what, column_of in ((DIFFERS, differs), (BROKEN, findings.has_nan(trace) | findings.has_inf(trace))):
        before = np.append(0, np.cumsum(column_of))
        inside = before[trace.ends[calls]] > before[calls]
        np.maximum.at(found, (row[inside], column[inside]), what)
    return Grid([names[code] for code in kinds[order]], forwards.astype(np.int64).tolist(), cells, found)


def _first_in_forward(trace: Trace, calls: np.ndarray) -> np.ndarray:
    """How far from the beginning of its forward each call stands, so that rows are in the order of a forward."""
    roots = np.flatnonzero(trace.parents < 0)
    begun: np.ndarray = calls - roots[np.searchsorted(roots, calls, side="right") - 1]
    return begun


def _rows(trace: Trace) -> np.ndarray:
    """Positions of the calls that are cells: modules without a layer inside, that stand in modules with one."""
    kinds, words = trace.words("kind")
    is_module = np.isin(kinds, [at for at, word in enumerate(words) if word == schema.MODULE])
    modules = np.flatnonzero(is_module)
    before = np.append(0, np.cumsum(np.isin(np.arange(len(trace)), entered(trace))))
    splits = np.zeros(len(trace), bool)
    splits[modules] = before[trace.ends[modules]] > before[modules + 1]
    splits[trace.parents < 0] = True  # a model without layers is split into its parts
    above = trace.parents[modules]
    while (lines := (above >= 0) & ~is_module[above]).any():
        above[lines] = trace.parents[above[lines]]
    cells: np.ndarray = modules[~splits[modules] & (above >= 0) & splits[above]]
    return cells
