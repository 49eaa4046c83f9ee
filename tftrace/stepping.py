"""Stepping: pure functions `(trace, position) -> position`, forwards and backwards alike.

Recording happened once, so going back costs what going on costs, and no terminal is needed to test it.
At the first or last step the position stays where it is."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from . import schema
from .trace import Trace


def into(trace: Trace, position: int) -> int:
    """The next step, whatever its depth."""
    return min(position + 1, len(trace) - 1)


def back_into(trace: Trace, position: int) -> int:
    """The step before, whatever its depth."""
    return max(position - 1, 0)


def over(trace: Trace, position: int) -> int:
    """The next step that is not below this one."""
    end = int(trace.ends[position])
    return end if end < len(trace) else position


def back_over(trace: Trace, position: int) -> int:
    """The step that `over` would have left for this one: the sibling before, or else the parent."""
    depth = trace.column("depth")
    at = position - 1
    while at >= 0 and depth[at] > depth[position]:
        at = int(trace.parents[at])
    return max(at, 0)


def out(trace: Trace, position: int) -> int:
    """The first step after the call that this step belongs to has returned."""
    call = trace.call_of(position)
    if call == position and (above := trace.parent(call)) is not None:
        call = trace.call_of(above)
    return over(trace, call) if trace.ends[call] < len(trace) else len(trace) - 1


def back_out(trace: Trace, position: int) -> int:
    """The call that this step belongs to, where it was entered."""
    call = trace.call_of(position)
    if call != position:
        return call
    above = trace.parent(position)
    return position if above is None else trace.call_of(above)


def stops(trace: Trace) -> tuple[int, ...]:
    """Where `continue_` halts: the start of every forward, a step that raised or never ended, that differs
    from its equation, or that returned NaN or Inf where none went in."""
    return tuple(_stops(trace, len(trace)).tolist())


@lru_cache(maxsize=4)
def _stops(trace: Trace, size: int) -> np.ndarray:
    found = np.zeros(size, bool)
    found |= trace.column("depth") == 0
    found |= trace.column("status") != schema.RETURNED
    differs = trace.column("verdict", "checks") == schema.DIFFERS
    found[trace.check_positions[differs]] = True
    broken = (trace.column("nan", "tensors") > 0) | (trace.column("inf", "tensors") > 0)
    role = trace.column("role", "tensors")
    made, given = np.zeros(size, bool), np.zeros(size, bool)
    made[trace.tensor_positions[broken & (role == schema.OUTPUT)]] = True
    given[trace.tensor_positions[broken & ((role == schema.INPUT) | (role == schema.PARAMETER))]] = True
    found |= made & ~given & (trace.column("kind") == schema.MODULE)
    halts: np.ndarray = np.flatnonzero(found)
    return halts


def continue_(trace: Trace, position: int) -> int:
    """The next stop, or the last step."""
    found = _stops(trace, len(trace))
    place = int(np.searchsorted(found, position, side="right"))
    return int(found[place]) if place < len(found) else len(trace) - 1


def back_continue(trace: Trace, position: int) -> int:
    """The stop before, or the first step."""
    found = _stops(trace, len(trace))
    place = int(np.searchsorted(found, position, side="left")) - 1
    return int(found[place]) if place >= 0 else 0


def search(trace: Trace, text: str) -> list[int]:
    """Positions whose path, class or equation contains `text`, ignoring case; for a line its source text counts."""
    wanted = re.compile(re.escape(text), re.IGNORECASE)
    is_line = trace.column("kind") == schema.LINE
    found = np.zeros(len(trace), bool)
    for name in ("name", "type", "equation"):
        codes, words = trace.words(name)
        matches = np.array([*(bool(wanted.search(word)) for word in words), False])
        found |= matches[codes]
    found &= ~is_line
    found |= _written(trace, wanted, is_line)
    result: list[int] = np.flatnonzero(found).tolist()
    return result


def _written(trace: Trace, wanted: re.Pattern[str], is_line: np.ndarray) -> np.ndarray:
    """Which line steps have a match on their source line; each distinct line is looked at once."""
    places, of_step = _places(trace, len(trace))
    files = trace.words("file")[1]
    matches = np.zeros(len(places) + 1, bool)
    for at, (file, line) in enumerate(places):
        source = trace.source(files[file]) if file >= 0 else []
        matches[at] = 0 < line <= len(source) and bool(wanted.search(source[line - 1]))
    found: np.ndarray = matches[of_step] & is_line
    return found


@lru_cache(maxsize=4)
def _places(trace: Trace, size: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The distinct (file code, line) of a trace, and for each step which of them it is."""
    lines = np.nan_to_num(trace.column("line").astype(np.float64), nan=0).astype(np.int64)
    keys, of_step = np.unique(
        (trace.words("file")[0].astype(np.int64) << 32) | (lines & 0xFFFFFFFF), return_inverse=True
    )
    return [(int(key) >> 32, int(key) & 0xFFFFFFFF) for key in keys], of_step
