"""A generation as a grid of calls: one column per forward pass (token), one row per layer.

A row is the largest module that is at most one layer: the embeddings, each layer, the head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
    roots: list[int]  # position of the outermost call of each column
    cells: np.ndarray  # (rows, columns): position of the row's first call in the forward, -1 if there is none
    found: np.ndarray  # (rows, columns): EMPTY, PLAIN, DESIGN, DIFFERS or BROKEN, the worst of what is inside the call

    def measured(self, trace: Trace, measure: str) -> np.ndarray:
        """The measure of each cell: nanoseconds of its call (`"time"`) or L2 norm of its result; NaN if unknown."""
        values = trace.column("duration_ns") if measure == MEASURES[0] else norms(trace)
        return np.where(self.cells >= 0, values[self.cells].astype(np.float64), np.nan)

    @cached_property
    def labels(self) -> list[str]:
        """The rows by the shortest ends of their names that tell them apart, such as `h.0` and `lm_head`."""
        return _short_ends(self.rows)

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
    order = np.lexsort(_first_in_forward(trace, calls[first]))
    place = np.empty(len(kinds), np.int64)
    place[order] = np.arange(len(kinds))
    forwards, begins = np.unique(forward, return_index=True)
    tops = np.flatnonzero(trace.parents < 0)
    roots = tops[np.searchsorted(tops, calls[begins], side="right") - 1].tolist()
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
    return Grid([names[code] for code in kinds[order]], forwards.astype(np.int64).tolist(), roots, cells, found)


def _short_ends(names: list[str]) -> list[str]:
    """The shortest ends of dotted names that differ from each other; none begins with a number."""
    found = []
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        others = [f".{other}" for other in names if other != name]
        fits = (end for end in ends if not end[:1].isdigit() and not any(o.endswith(f".{end}") for o in others))
        found.append(next(fits, name))
    return found


def _first_in_forward(trace: Trace, calls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What gives the order of the rows: the distance in steps of each call from the start of its forward, and before
    that when a forward of this model or part (such as an encoder on its own) was first run."""
    roots = np.flatnonzero(trace.parents < 0)
    own = np.searchsorted(roots, calls, side="right") - 1
    codes = trace.words("name")[0][roots]
    first_of = {code: at for at, code in reversed([*enumerate(codes.tolist())])}
    return calls - roots[own], np.array([first_of[code] for code in codes[own].tolist()], np.int64)


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
