"""Cells that wait to be judged together: a column for each tensor that was read, and a row for each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ...recipes.evaluate.value import Array
from ...recipes.format.evidence import STATED
from ...recipes.format.library import Match
from ..measure.fetched import fetched
from .cells import Reading, Units
from .host_arrays import KINDS, host_kind

_ROOM = 16  # rows that a column has at first
# Cells of a column, and steps, that are judged at once: enough to share the fixed cost of a judgement, and few enough
# that they take only a few MB.
_MOST_CELLS, _MOST_TOGETHER = 1 << 19, 512


class Group:
    """Steps of one equation whose cells are read in the same way.

    Args:
        reading: How their cells are read.
        match: The equation.
        units: The unit roundoffs that apply to them.
        evidence: What shows that the equation describes these steps; see `evidence`.

    Attributes:
        steps: The numbers of the steps.
        orders: For each, the index of the equation among those of the step.
        cells: How many cells a step has.
        together: How many steps are judged at once.
        columns: The cells; columns have more rows than there are steps.
        bases: The addresses of the columns.
        awaited: Column, row and cells of what is still on an accelerator.
    """

    __slots__ = (
        *("reading", "match", "units", "evidence", "steps", "orders", "cells", "together", "columns", "bases"),
        *("awaited", "_room"),
    )  # compiled code reads them

    def __init__(self, reading: Reading, match: Match, units: Units, evidence: str = STATED) -> None:
        self.reading, self.match, self.units = reading, match, units
        self.evidence = evidence
        self.steps: list[int] = []
        self.orders: list[int] = []
        self.cells, self.together = 0, 1
        self.columns: list[Array] = []
        self.bases: list[int] = []
        self._room = 0
        self.awaited: list[tuple[int, int, torch.Tensor]] = []

    def row(self, cells: Sequence[Any]) -> int:
        """Return the next row, and make room for it; `cells` have the shapes and dtypes of its parts."""
        row = len(self.steps)
        if row == self._room:
            self._grow(cells)
        return row

    def took(self, step: int, order: int) -> None:
        """Note that the next row has been filled, with the cells of this step."""
        self.steps.append(step)
        self.orders.append(order)

    def put(self, cells: Sequence[Any]) -> None:
        """Copy the cells of a step into the next row."""
        row = self.row(cells)
        for at, part in enumerate(cells):
            if isinstance(part, torch.Tensor):
                self.awaited.append((at, row, part))
            else:
                self.columns[at][row] = part

    def clear(self) -> None:
        """Remove all rows, but keep the memory."""
        self.steps, self.orders = [], []

    def release(self) -> None:
        """Release the memory."""
        self.columns, self.bases, self._room = [], [], 0

    @property
    def room(self) -> int:
        """The number of cells that there is memory for."""
        return self._room * self.cells

    def _grow(self, cells: Sequence[Any]) -> None:
        if not self._room:
            self.columns = [np.empty((0, *part.shape), host_kind(part.dtype)) for part in cells]
            sizes = [math.prod(part.shape) for part in cells]
            self.cells, self.together = sum(sizes), min(max(_MOST_CELLS // max(sizes), 1), _MOST_TOGETHER)
        old, more = self._room, max(2 * self._room, _ROOM)
        self._room = min(more, self.together) if old < self.together else more  # rows that are awaited may be more
        for at, column in enumerate(self.columns):
            self.columns[at] = np.empty((self._room, *column.shape[1:]), column.dtype)
            self.columns[at][:old] = column
        self.bases = [column.ctypes.data for column in self.columns]

    @property
    def filled(self) -> list[Array]:
        """The filled rows of all columns; valid after `fetch`."""
        return [column[: len(self.steps)] for column in self.columns]


def fetch(groups: Iterable[Group]) -> None:
    """Copy cells that are still on accelerators to the host, with one copy from each."""
    waiting: list[tuple[Array, int, torch.Tensor]] = []
    for group in groups:
        waiting += [(group.columns[at], row, cells) for at, row, cells in group.awaited]
        group.awaited = []
    for (column, row, _), cells in zip(waiting, fetched([cells for *_, cells in waiting]), strict=True):
        column[row] = (cells if cells.dtype in KINDS else cells.to(torch.float64)).numpy()
