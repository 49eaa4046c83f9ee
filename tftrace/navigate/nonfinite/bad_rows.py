"""The rows of the tensors table that hold NaN, Inf or the largest number of a dtype, in the order they were seen in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...trace import schema
from ...trace.trace import Trace
from .saturation import saturated

MADE = (schema.OUTPUT, schema.LOCAL)
_ROLES = (*MADE, schema.INPUT, schema.PARAMETER)
Place = tuple[int, int, int, int, int]


class BadRow(NamedTuple):
    """A row, and what whoever follows its tensor asks of it again and again; -1 stands for no step."""

    row: int
    at: int  # position of its step
    key: tuple[int, int]  # rank and number of the tensor
    role: str
    finite: bool  # it has no NaN or Inf, but the largest number there is
    nan: bool
    call: int  # whose code knows the tensor from now on: for what was returned the call around
    body: int  # in whose code it was made, if it is seen for the first time
    place: Place  # rank, name, line, role and variable: the same for every run of a line


def bad_rows(trace: Trace) -> Iterator[BadRow]:
    """What a step took comes as it was entered, what it returned after all that ran in it."""
    nan, inf = trace.column("nan", "tensors"), trace.column("inf", "tensors")
    rows = np.flatnonzero((nan > 0) | (inf > 0) | saturated(trace))
    codes, words = trace.words("role", "tensors")
    rows = rows[np.isin(codes[rows], [at for at, word in enumerate(words) if word in _ROLES])]
    if not len(rows):
        return
    at, role = trace.tensor_positions[rows], codes[rows]
    made = np.isin(role, [n for n, word in enumerate(words) if word in MADE])
    given = np.isin(role, [n for n, word in enumerate(words) if word == schema.INPUT])
    time = np.where(made, trace.ends[at] - 1, at)
    order = np.lexsort((rows, given, np.where(made, -trace.column("depth")[at], 0), made, time))
    rows, at, role = rows[order], at[order], role[order]
    returned = np.isin(role, [n for n, word in enumerate(words) if word == schema.OUTPUT])
    own, around = _calls(trace, at), _calls(trace, trace.parents[at])
    body = np.where(returned, at, np.where(given[order], around, own))
    tensor = trace.column("tensor", "tensors")[rows]
    number = np.where(tensor == tensor, tensor, -2 - rows).astype(np.int64)  # of one without a number its own
    line = np.nan_to_num(trace.column("line")[at].astype(np.float64), nan=-1).astype(np.int64)
    rank, name, variable = trace.column("rank")[at], trace.words("name")[0][at], trace.words("name", "tensors")[0][rows]
    places = zip(*(column.tolist() for column in (rank, name, line, role, variable)), strict=True)
    keys = zip(rank.tolist(), number.tolist(), strict=True)
    finite = ~((nan[rows] > 0) | (inf[rows] > 0))
    yield from map(
        BadRow, rows.tolist(), at.tolist(), keys, [words[code] for code in role.tolist()], finite.tolist(),
        (nan[rows] > 0).tolist(), np.where(returned, around, own).tolist(), body.tolist(), places,
    )  # fmt: skip


def _calls(trace: Trace, positions: np.ndarray) -> np.ndarray:
    """The call of a module or function that each step belongs to: itself, or the next one above."""
    codes, words = trace.words("kind")
    is_call = np.isin(codes, [at for at, word in enumerate(words) if word in schema.CALLS])
    found: np.ndarray = positions.copy()
    while True:
        climbs = (found >= 0) & ~is_call[found]
        if not climbs.any():
            return found
        found[climbs] = trace.parents[found[climbs]]
