"""Stepping: pure functions `(trace, position) -> position`, forwards and backwards alike.

They work on a finished recording, so a step back costs as much as a step forward, and testing needs no terminal.
Without a further step in its direction, a function returns the first or last position."""

from __future__ import annotations

import re

import numpy as np

from ..trace import schema
from ..trace.trace import Trace
from . import findings
from .breakpoints import halts
from .condition import fits, is_condition, parse


def into(trace: Trace, position: int) -> int:
    """The next step, whatever its depth."""
    return min(position + 1, len(trace) - 1)


def back_into(trace: Trace, position: int) -> int:
    """The previous step, whatever its depth."""
    return max(position - 1, 0)


def over(trace: Trace, position: int) -> int:
    """The next step that is not inside this one; `position` if there is none."""
    end = int(trace.ends[position])
    return end if end < len(trace) else position


def back_over(trace: Trace, position: int) -> int:
    """The step from which `over` leads here: the previous sibling, else the parent."""
    depth = trace.column("depth")
    at = position - 1
    while at >= 0 and depth[at] > depth[position]:
        at = int(trace.parents[at])
    return max(at, 0)


def out(trace: Trace, position: int) -> int:
    """The first step after the return of the call that contains this step."""
    call = trace.call_of(position)
    if call == position and (above := trace.parent(call)) is not None:
        call = trace.call_of(above)
    return over(trace, call) if trace.ends[call] < len(trace) else len(trace) - 1


def back_out(trace: Trace, position: int) -> int:
    """The start of the call that contains this step."""
    call = trace.call_of(position)
    if call != position:
        return call
    above = trace.parent(position)
    return position if above is None else trace.call_of(above)


def stops(trace: Trace) -> tuple[int, ...]:
    """Positions where `continue_` halts without breakpoints: each forward's start, and where something went wrong."""
    return tuple(trace.derived(_stops).tolist())


def _stops(trace: Trace) -> np.ndarray:
    return halts(trace, ())


def continue_(trace: Trace, position: int, at: np.ndarray | None = None) -> int:
    """The next of the sorted positions `at` (default: `stops`), or the last step."""
    found = trace.derived(_stops) if at is None else at
    place = int(np.searchsorted(found, position, side="right"))
    return int(found[place]) if place < len(found) else len(trace) - 1


def back_continue(trace: Trace, position: int, at: np.ndarray | None = None) -> int:
    """The previous of the sorted positions `at` (default: `stops`), or the first step."""
    found = trace.derived(_stops) if at is None else at
    place = int(np.searchsorted(found, position, side="left")) - 1
    return int(found[place]) if place >= 0 else 0


def search(trace: Trace, text: str) -> list[int]:
    """Positions of steps whose path, class or equation contains `text`, ignoring case; for a line step, its source."""
    wanted = re.compile(re.escape(text), re.IGNORECASE)
    is_line = trace.column("kind") == schema.LINE
    found = np.zeros(len(trace), bool)
    for name in ("name", "type", "equation"):
        codes, words = trace.words(name)
        matches = np.array([*(bool(wanted.search(word)) for word in words), False])
        found |= matches[codes]
    found &= ~is_line
    found |= _match_source(trace, wanted, is_line)
    result: list[int] = np.flatnonzero(found).tolist()
    return result


def matching(trace: Trace, text: str) -> np.ndarray:
    """Find the steps that match a search text.

    Args:
        trace: The trace.
        text: A condition (`nan > 0`), a verdict (`differs`, `design`), or text as in `search`.

    Returns:
        A boolean array with one element per step.

    Raises:
        TraceError: `text` begins like a condition but cannot be parsed.
    """
    wanted = text.strip()
    if any(wanted in words for words in findings.VERDICT_WORDS):
        wanted = f"verdict = '{wanted}'"
    if is_condition(wanted):
        return fits(trace, parse(wanted))
    found = np.zeros(len(trace), bool)
    found[search(trace, text)] = True
    return found


def _match_source(trace: Trace, wanted: re.Pattern[str], is_line: np.ndarray) -> np.ndarray:
    """Which line steps have a match on their source line; each distinct line is searched once."""
    lines, of_step = trace.derived(_distinct_lines)
    files = trace.words("file")[1]
    matches = np.zeros(len(lines) + 1, bool)
    for at, (file, line) in enumerate(lines):
        source = trace.source(files[file]) if file >= 0 else []
        matches[at] = 0 < line <= len(source) and bool(wanted.search(source[line - 1]))
    found: np.ndarray = matches[of_step] & is_line
    return found


def _distinct_lines(trace: Trace) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The distinct (file code, line) pairs of a trace, and for each step the index of its pair."""
    lines = np.nan_to_num(trace.column("line").astype(np.float64), nan=0).astype(np.int64)
    keys, of_step = np.unique(
        (trace.words("file")[0].astype(np.int64) << 32) | (lines & 0xFFFFFFFF), return_inverse=True
    )
    return [(int(key) >> 32, int(key) & 0xFFFFFFFF) for key in keys], of_step
