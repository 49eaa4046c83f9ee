"""Breakpoints: a pattern of steps, a condition on them, and a count; compiled to the positions where they halt.

Nothing here runs a model: a breakpoint is a question to the columns of a trace, so it can be set after the run."""

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

_PLACE = re.compile(r"(.*?)([^/\\]+):(\d{1,9})")  # a folder, a file and a line of it
_PARTS = re.compile(r"(?:(?P<pattern>.+?)\s*)??(?:\bwhen\s+(?P<when>.+?))?(?:\s*\bhit\s+(?P<hit>\d{1,9}))?", re.DOTALL)


@dataclass(frozen=True)
class Breakpoint:
    """Halts at steps that `pattern` names and for which `condition` is true, from the `hit`-th of them on.

    The pattern is that of a path (`encoder.layer.*.attention`, or the end of one: `attention.self`), of a class
    (`BertSelfAttention`), or a line (`modeling_bert.py:175`); `*` is every step."""

    pattern: str = "*"
    condition: str = ""
    hit: int = 1
    on: bool = True

    def __str__(self) -> str:
        """As it is typed: `attention.self when nan > 0 hit 3`."""
        when = f" when {self.condition}" if self.condition else ""
        return f"{self.pattern}{when}{f' hit {self.hit}' if self.hit > 1 else ''}"


def read(text: str) -> Breakpoint:
    """A breakpoint as it is typed: a pattern, `when` a condition, `hit` a number; each may be left out, not all.

    Raises TraceError if the condition is none."""
    found = _PARTS.fullmatch(text.strip())
    if found is None or not text.strip():
        raise TraceError("A breakpoint needs a pattern or a condition: write it as 'attention.self when nan > 0'.")
    if found["when"] is not None:
        parse(found["when"])
    elif re.search(r"\bwhen\s*$", text):
        raise TraceError("A condition is missing after 'when': write it as 'when nan > 0'.")
    return Breakpoint(found["pattern"] or "*", found["when"] or "", max(1, int(found["hit"] or 1)))


def column(trace: Trace, breakpoint: Breakpoint) -> np.ndarray:
    """For each step whether the breakpoint, were it on, halts there."""
    found = _named(trace, breakpoint.pattern)
    if breakpoint.condition:
        found &= fits(trace, parse(breakpoint.condition))
    if breakpoint.hit > 1:
        found &= np.cumsum(found) >= breakpoint.hit
    return found


def here(trace: Trace, position: int) -> Breakpoint:
    """The breakpoint that `b` sets on a step: its line, or its path (its class, where the path is empty)."""
    file, line = trace.column("file")[position], trace.column("line")[position]
    if trace.column("kind")[position] == schema.LINE and file and line == line:
        return Breakpoint(place(file, int(line)))
    name = trace.column("name")[position] or trace.column("type")[position]
    return Breakpoint(name or "*")


def halts(trace: Trace, found: Iterable[np.ndarray] = (), wrong: bool = True) -> np.ndarray:
    """Positions where `continue` halts: those of breakpoints, and (`wrong`) where something went wrong.

    Without a breakpoint the start of each forward pass is a halt too."""
    at = np.zeros(len(trace), bool)
    given = list(found)
    for positions in given:
        at[positions] = True
    if not given:
        at |= trace.column("depth") == 0
    if wrong:
        at[findings.wrong(trace)] = True
    result: np.ndarray = np.flatnonzero(at)
    return result


class Breakpoints:
    """The breakpoints of a trace, each looked up once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._positions: dict[tuple[str, str, int], np.ndarray] = {}
        self.all: list[Breakpoint] = []
        self.wrong = True  # whether `continue` also halts where something went wrong

    def positions(self, one: Breakpoint) -> np.ndarray:
        """Where a breakpoint, were it on, halts."""
        key = (one.pattern, one.condition, one.hit)
        if key not in self._positions:
            self._positions[key] = np.flatnonzero(column(self._trace, one))
        return self._positions[key]

    @property
    def on(self) -> list[np.ndarray]:
        """Where each breakpoint that is on halts."""
        return [self.positions(one) for one in self.all if one.on]

    @property
    def marked(self) -> np.ndarray:
        """Positions where one that is on halts."""
        at = np.zeros(len(self._trace), bool)
        for positions in self.on:
            at[positions] = True
        found: np.ndarray = np.flatnonzero(at)
        return found

    @property
    def halts(self) -> np.ndarray:
        """Where `continue` halts."""
        return halts(self._trace, self.on, self.wrong)

    def toggle(self, one: Breakpoint) -> None:
        """Set a breakpoint, or take away those with its pattern."""
        left = [other for other in self.all if other.pattern != one.pattern]
        self.all = left if len(left) < len(self.all) else [*left, one]

    def replace(self, old: Breakpoint | None, new: Breakpoint | None) -> None:
        """Put one in the place of another, or at the end; None takes the old one away."""
        at = self.all.index(old) if old in self.all else len(self.all)
        self.all[at : at + 1] = [] if new is None else [new]

    def forget(self) -> None:
        """The trace has grown: look again."""
        self._positions.clear()


def place(file: str, line: int) -> str:
    """The pattern of a source line: `modeling_bert.py:175`."""
    return f"{_base(file)}:{line}"


def _base(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


def _named(trace: Trace, pattern: str) -> np.ndarray:
    """Which steps a pattern names; lines are named by their place, or by `*`."""
    if pattern == "*":
        return np.ones(len(trace), bool)
    found: np.ndarray
    line = _PLACE.fullmatch(pattern)
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
