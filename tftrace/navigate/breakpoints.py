"""Breakpoints: a pattern of steps, a condition and a hit count, resolved to the positions where they halt.

A breakpoint is a query on the columns of a finished trace. It runs no model and can be set after the run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

import numpy as np

from ..errors import TraceError
from ..trace import schema
from ..trace.trace import Trace
from . import findings
from .condition import fits, parse

PLACE = re.compile(r"(.*?)([^/\\]+):(\d{1,9})")  # folder, file name, line number
_PARTS = re.compile(r"(?:(?P<pattern>.+?)\s*)??(?:\bwhen\s+(?P<when>.+?))?(?:\s*\bhit\s+(?P<hit>\d{1,9}))?", re.DOTALL)


@dataclass(frozen=True)
class Breakpoint:
    """Halts at the steps that match `pattern` and `condition`, from the `hit`-th match on.

    Attributes:
        pattern: A module path or the end of one (`encoder.layer.*.attention`, `attention.self`), a class
            (`BertSelfAttention`), or a source line (`modeling_bert.py:175`). `*` matches every step.
        condition: A condition as `navigate.condition.parse` reads it; empty for none.
        hit: The first match that halts, counted from 1.
        on: Whether the breakpoint is enabled.
    """

    pattern: str = "*"
    condition: str = ""
    hit: int = 1
    on: bool = True

    def __str__(self) -> str:
        """The breakpoint as a user types it: `attention.self when nan > 0 hit 3`."""
        when = f" when {self.condition}" if self.condition else ""
        return f"{self.pattern}{when}{f' hit {self.hit}' if self.hit > 1 else ''}"


def parse_breakpoint(text: str) -> Breakpoint:
    """Parse a breakpoint as a user types it: a pattern, `when` a condition, `hit` a number.

    Args:
        text: At least one of the three parts, in this order.

    Raises:
        TraceError: `text` is empty, or its condition cannot be parsed.

    Example:
        >>> parse_breakpoint("attention.self when nan > 0 hit 3").hit
        3
    """
    found = _PARTS.fullmatch(text.strip())
    if found is None or not text.strip():
        raise TraceError("A breakpoint needs a pattern or a condition: write it as 'attention.self when nan > 0'.")
    if found["when"] is not None:
        parse(found["when"])
    elif re.search(r"\bwhen\s*$", text):
        raise TraceError("A condition is missing after 'when': write it as 'when nan > 0'.")
    return Breakpoint(found["pattern"] or "*", found["when"] or "", max(1, int(found["hit"] or 1)))


def matching_steps(trace: Trace, breakpoint: Breakpoint) -> np.ndarray:
    """Find the steps that a breakpoint matches, enabled or not.

    Returns:
        A boolean array with one element per step.

    Raises:
        TraceError: The breakpoint's condition cannot be parsed.
    """
    found = named_steps(trace, breakpoint.pattern)
    if breakpoint.condition:
        found &= fits(trace, parse(breakpoint.condition))
    if breakpoint.hit > 1:
        found &= np.cumsum(found) >= breakpoint.hit
    return found


def breakpoint_at(trace: Trace, position: int) -> Breakpoint:
    """The breakpoint that the key `b` sets on a step: its line, else its path (or class, if the path is empty)."""
    file, line = trace.column("file")[position], trace.column("line")[position]
    if trace.column("kind")[position] == schema.LINE and file and line == line:
        return Breakpoint(line_pattern(file, int(line)))
    name = trace.column("name")[position] or trace.column("type")[position]
    return Breakpoint(name or "*")


def halts(trace: Trace, found: Iterable[np.ndarray] = (), wrong: bool = True, designed: bool = False) -> np.ndarray:
    """Find the positions where `continue` halts.

    Args:
        trace: The trace.
        found: The positions of each breakpoint. Without any, the start of each forward pass is a halt too.
        wrong: Whether to halt where something went wrong as well (see `findings.wrong`).
        designed: Whether to halt at differences by design as well.

    Returns:
        The sorted positions.
    """
    at = np.zeros(len(trace), bool)
    given = list(found)
    for positions in given:
        at[positions] = True
    if not given:
        at |= trace.column("depth") == 0
    if wrong:
        at[findings.wrong(trace)] = True
    if designed:
        at[findings.designed(trace)] = True
    result: np.ndarray = np.flatnonzero(at)
    return result


class Breakpoints:
    """The breakpoints set on one trace, with their positions cached."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._positions: dict[tuple[str, str, int], np.ndarray] = {}
        self.all: list[Breakpoint] = []
        self.wrong = True  # whether `continue` also halts where something went wrong,
        self.designed = False  # and at differences by design

    def positions(self, one: Breakpoint) -> np.ndarray:
        """Positions that a breakpoint matches, enabled or not."""
        key = (one.pattern, one.condition, one.hit)
        if key not in self._positions:
            self._positions[key] = np.flatnonzero(matching_steps(self._trace, one))
        return self._positions[key]

    @property
    def enabled(self) -> list[np.ndarray]:
        """Positions of each enabled breakpoint."""
        return [self.positions(one) for one in self.all if one.on]

    @property
    def marked(self) -> np.ndarray:
        """Positions of all enabled breakpoints together."""
        at = np.zeros(len(self._trace), bool)
        for positions in self.enabled:
            at[positions] = True
        found: np.ndarray = np.flatnonzero(at)
        return found

    @property
    def halts(self) -> np.ndarray:
        """Positions where `continue` halts."""
        return halts(self._trace, self.enabled, self.wrong, self.designed)

    def toggle(self, one: Breakpoint) -> None:
        """Set a breakpoint, or remove all with the same pattern."""
        left = [other for other in self.all if other.pattern != one.pattern]
        self.all = left if len(left) < len(self.all) else [*left, one]

    def replace(self, old: Breakpoint | None, new: Breakpoint | None) -> None:
        """Put `new` in the place of `old`, or at the end if `old` is not set; None as `new` removes `old`."""
        at = self.all.index(old) if old in self.all else len(self.all)
        self.all[at : at + 1] = [] if new is None else [new]

    def forget(self) -> None:
        """Drop cached positions, because the trace has grown."""
        self._positions.clear()


def line_pattern(file: str, line: int) -> str:
    """The pattern that matches a source line: `modeling_bert.py:175`."""
    return f"{_base(file)}:{line}"


def _base(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


def named_steps(trace: Trace, pattern: str) -> np.ndarray:
    """A column of the steps that a pattern matches. Line steps match only by file and line, or by `*`."""
    if pattern == "*":
        return np.ones(len(trace), bool)
    found: np.ndarray
    line = PLACE.fullmatch(pattern)
    if line is not None:
        wanted = re.compile(translate(line[2]), re.IGNORECASE)
        codes, files = trace.words("file")
        of_file = np.array([*(bool(wanted.match(_base(file))) for file in files), False])
        found = of_file[codes] & (trace.column("line") == int(line[3])) & _is_line(trace)
        return found
    wanted, tail = re.compile(translate(pattern)), re.compile(translate(f"*.{pattern}"))
    found = np.zeros(len(trace), bool)
    for name in ("name", "type"):
        codes, words = trace.words(name)
        same = [bool(wanted.match(word) or (name == "name" and tail.match(word))) for word in words]
        found |= np.array([*same, False])[codes]
    found &= ~_is_line(trace)
    return found


def _is_line(trace: Trace) -> np.ndarray:
    codes, words = trace.words("kind")
    line: np.ndarray = codes == words.index(schema.LINE) if schema.LINE in words else np.zeros(len(trace), bool)
    return line
