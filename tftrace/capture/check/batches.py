"""Cells of steps that wait to be judged together: a column for each thing that was read, a row for each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ...recipes.evaluate.value import Array
from ...recipes.format.evidence import STATED
from ...recipes.format.library import Match
from .cells import Reading, Units
from .host_arrays import host, host_kind

_ROOM = 16  # rows of a first column
# Of one column, that are judged at once: so many that they share what a judgement costs by itself, and so few that what
# waits stays a few MB.
_MOST_CELLS, _MOST_TOGETHER = 1 << 19, 512


class Group:
    """Steps of one equation, whose cells are read in one way."""

    def __init__(self, reading: Reading, match: Match, units: Units, evidence: str = STATED) -> None:
        self.reading, self.match, self.units = reading, match, units
        self.evidence = evidence  # what speaks for the equation describing these steps
        self.steps: list[int] = []
        self.orders: list[int] = []  # of the equation among those of the step
        self.cells, self.together = 0, 1  # cells of one step; steps that are judged at once
        self.columns: list[Array] = []  # with more rows than steps
        self.bases: list[int] = []  # the addresses of their memory
        self._room = 0
        self.awaited: list[tuple[int, int, torch.Tensor]] = []  # column, row, and what is still on an accelerator

    def row(self, cells: Sequence[Any]) -> int:
        """The next row, with room for cells of these shapes and dtypes."""
        row = len(self.steps)
        if row == self._room:
            self._grow(cells)
        return row

    def took(self, step: int, order: int) -> None:
        """The next row has been filled."""
        self.steps.append(step)
        self.orders.append(order)

    def put(self, cells: Sequence[Any]) -> None:
        """Copy what was read for a step into the next row."""
        row = self.row(cells)
        for at, part in enumerate(cells):
            if isinstance(part, torch.Tensor):
                self.awaited.append((at, row, part))
            else:
                self.columns[at][row] = part

    def clear(self) -> None:
        """Begin anew, in the same memory."""
        self.steps, self.orders = [], []

    def release(self) -> None:
        """Let the memory go."""
        self.columns, self.bases, self._room = [], [], 0

    @property
    def room(self) -> int:
        """Cells for which there is memory."""
        return self._room * self.cells

    def _grow(self, cells: Sequence[Any]) -> None:
        if not self._room:
            self.columns = [np.empty((0, *part.shape), host_kind(part.dtype)) for part in cells]
            sizes = [math.prod(part.shape) for part in cells]
            self.cells, self.together = sum(sizes), min(max(_MOST_CELLS // max(sizes), 1), _MOST_TOGETHER)
        old, more = self._room, max(2 * self._room, _ROOM)
        self._room = min(more, self.together) if old < self.together else more  # what is awaited may be more
        for at, column in enumerate(self.columns):
            self.columns[at] = np.empty((self._room, *column.shape[1:]), column.dtype)
            self.columns[at][:old] = column
        self.bases = [column.ctypes.data for column in self.columns]

    @property
    def filled(self) -> list[Array]:
        """What was read, with the steps in front; after `fetch`."""
        return [column[: len(self.steps)] for column in self.columns]


def fetch(groups: Iterable[Group]) -> None:
    """Bring what is still on accelerators to the host, waiting for each device and dtype once."""
    waiting: dict[Any, list[tuple[Array, int, torch.Tensor]]] = {}
    for group in groups:
        for at, row, cells in group.awaited:
            waiting.setdefault((cells.device, cells.dtype), []).append((group.columns[at], row, cells))
        group.awaited = []
    for parts in waiting.values():
        whole, first = host(torch.cat([cells.reshape(-1) for _, _, cells in parts])), 0
        for column, row, cells in parts:
            column[row] = whole[first : first + cells.numel()].reshape(tuple(cells.shape))
            first += cells.numel()
