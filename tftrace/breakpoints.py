"""Breakpoints: a pattern of steps, a condition on them, and a count; compiled to the positions where they halt.

Nothing here runs a model: a breakpoint is a question to the columns of a trace, so it can be set after the run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

import numpy as np

from . import marks, schema
from .condition import fits, parse
from .errors import TraceError
from .trace import Trace

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
    if trace.column("kind")[position] == schema.LINE and (place := _place(trace, position)):
        return Breakpoint(place)
    name = trace.column("name")[position] or trace.column("type")[position]
    return Breakpoint(name or "*")


def halts(trace: Trace, breakpoints: Iterable[Breakpoint], wrong: bool = True) -> np.ndarray:
    """Positions where `continue` halts: at breakpoints that are on, and (`wrong`) where something went wrong.

    Without a breakpoint the start of each forward pass is a halt too."""
    found = np.zeros(len(trace), bool)
    on = [one for one in breakpoints if one.on]
    for one in on:
        found |= column(trace, one)
    if not on:
        found |= trace.column("depth") == 0
    if wrong:
        found[marks.wrong(trace)] = True
    positions: np.ndarray = np.flatnonzero(found)
    return positions


def _place(trace: Trace, position: int) -> str:
    file, line = trace.column("file")[position], trace.column("line")[position]
    return f"{_base(file)}:{int(line)}" if file and line == line else ""


def _base(file: str) -> str:
    return re.split(r"[/\\]", file)[-1]


def _named(trace: Trace, pattern: str) -> np.ndarray:
    """Which steps a pattern names; lines are named by their place, or by `*`."""
    if pattern == "*":
        return np.ones(len(trace), bool)
    found: np.ndarray
    place = _PLACE.fullmatch(pattern)
    if place is not None:
        wanted = re.compile(translate(place[2]), re.IGNORECASE)
        codes, files = trace.words("file")
        of_file = np.array([*(bool(wanted.match(_base(file))) for file in files), False])
        found = of_file[codes] & (trace.column("line") == int(place[3])) & _is_line(trace)
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
