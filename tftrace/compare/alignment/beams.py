"""Which row of a forward pass goes on with which of the one before: a search for the best text sorts its beams anew
after each token, and their cache with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...trace import schema
from .forward_tokens import CACHE, Forward
from .side import Made, TraceSide

_KEYS = 2  # the axis of the keys in a cache


def give_parents(side: TraceSide, forwards: Sequence[Forward]) -> None:
    """Tell each forward pass whose cache was sorted which row each of its rows goes on with, told by the cache."""
    if not any(one.past and one.main and one.main.batch > 1 for one in forwards):
        return
    given, made = _caches(side, schema.INPUT), _caches(side, schema.OUTPUT)
    for before, forward in pairwise(forwards):
        if forward.past and forward.main and forward.main.batch > 1:
            forward.parents = _parents(side, made.get(before.number, []), given.get(forward.number, []))


def _caches(side: TraceSide, role: str) -> dict[int, list[Made]]:
    """What the outermost call of each forward was given, or returned, of a cache."""
    found: dict[int, list[Made]] = {}
    forwards, parents = side.trace.column("forward"), side.trace.parents
    for row in side.rows:
        if row.role == role and parents[row.step] < 0 and CACHE.search(row.name):
            found.setdefault(int(forwards[row.step]), []).append(side.by_number[row.number])
    return found


def _parents(side: TraceSide, before: Sequence[Made], now: Sequence[Made]) -> list[int] | None:
    """The rows of a cache as it was left that those of a cache as it was taken up are; None where none is known, or
    where they stayed in their places."""
    if not before or not now:
        return None
    left, taken = before[0], now[0]
    if left.number == taken.number or left.shape != taken.shape or len(left.shape) != 4:
        return None
    there, here = (side.token_print(one, _KEYS) for one in (left, taken))
    if there is None or here is None:
        return None
    found = [_row(row, at, there) for at, row in enumerate(here)]
    return None if None in found or found == [*range(len(found))] else [at for at in found if at is not None]


def _row(wanted: np.ndarray, at: int, rows: np.ndarray) -> int | None:
    order = [at, *(other for other in range(len(rows)) if other != at)]
    return next((other for other in order if np.array_equal(rows[other], wanted)), None)
