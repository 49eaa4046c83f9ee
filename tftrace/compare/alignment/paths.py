"""Tensors of two runs that the same code made: the same path and call, or the same line of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ...trace import schema
from ...trace.trace import Trace
from .side import Made, TraceSide

Code = tuple[object, ...]
CACHED = re.compile(r"(^|\.)(cache|past_key_values?|mems)\b")  # what is in a cache is known from where it was made
_ENOUGH = 0.5  # share of the smaller run's modules that have to be in the other for the code to be the same


@dataclass(slots=True, eq=False)
class Place:
    """What one piece of code made, in every forward pass: tensors by the number of their forward."""

    order: int
    made: dict[int, Made] = field(default_factory=dict)

    @property
    def first(self) -> Made:
        """The earliest of them."""
        return next(iter(self.made.values()))


def same_code(left: TraceSide, right: TraceSide) -> tuple[str, str] | None:
    """The prefixes of module paths without which the two runs name the same modules (`("", "base_model.model.")`);
    None if most of one are not in the other."""
    paths = [_paths(side.trace) for side in (left, right)]
    if not all(paths):
        return ("", "") if paths[0] == paths[1] else None
    best, found = 0, ("", "")
    for prefixes in [("", ""), *_prefixes(*paths)]:
        named = [{path.removeprefix(prefix) for path in side} for side, prefix in zip(paths, prefixes, strict=True)]
        shared = len(named[0] & named[1])
        if shared > best:
            best, found = shared, prefixes
    return found if best >= _ENOUGH * min(map(len, paths)) else None


def places(side: TraceSide, prefix: str, whole: bool = False) -> dict[Code, Place]:
    """What each piece of code made; a tensor that several steps saw is listed with each of them.

    `whole`: tensors of whole numbers instead."""
    codes = _Codes(side.trace, prefix)
    found: dict[Code, Place] = {}
    forwards = side.trace.column("forward")
    known = {made.number: made for made in side.whole_numbers} if whole else side.by_number
    for row in side.whole_rows if whole else side.rows:
        made = known.get(row.number)
        if made is not None and not CACHED.search(row.name):
            code = (codes.of(row.step), row.role, row.name)
            place = found.setdefault(code, Place(made.order))
            place.made.setdefault(int(forwards[row.step]), made)
    return found


def _paths(trace: Trace) -> set[str]:
    """Paths of the modules that were called."""
    codes, names = trace.words("name")
    modules = {names[code] for code in np.unique(codes[trace.column("kind") == schema.MODULE]).tolist() if code >= 0}
    return modules - {""}


def _prefixes(left: set[str], right: set[str]) -> list[tuple[str, str]]:
    """The prefixes that the paths of either run most often have in front of a path of the other."""
    counts: Counter[tuple[str, str]] = Counter()
    for flipped, (ones, others) in enumerate(((left, right), (right, left))):
        for path in ones:
            parts = path.split(".")
            for n in range(1, len(parts)):
                if ".".join(parts[n:]) in others:
                    prefix = ".".join(parts[:n]) + "."
                    counts[("", prefix) if flipped else (prefix, "")] += 1
    return [pair for pair, _ in counts.most_common(3)]


class _Codes:
    """What identifies the code of a step in every run: the path of a module, the text of a line."""

    def __init__(self, trace: Trace, prefix: str) -> None:
        self._trace, self._prefix = trace, prefix
        self._kinds, self._names, self._types = (trace.column(name) for name in ("kind", "name", "type"))
        self._occurrences = trace.column("occurrence")
        self._known: dict[int, Code] = {}
        self._told: Counter[tuple[int, str]] = Counter()
        self._nth: dict[int, int] = {}

    def of(self, step: int) -> Code:
        """The code of the step at a position."""
        found = self._known.get(step)
        if found is None:
            found = self._known[step] = self._make(step)
        return found

    def _make(self, step: int) -> Code:
        kind = self._kinds[step]
        if kind in schema.CALLS:
            name = str(self._names[step] or "").removeprefix(self._prefix)
            return kind, name, self._occurrences[step]
        parent = self._trace.parent(step)
        if parent is None:
            return kind, self._names[step], self._occurrences[step]
        if step not in self._nth:
            self._count(parent)
        return self.of(parent), kind, self._label(step), self._nth[step]

    def _count(self, parent: int) -> None:
        """Number the lines and ops below a step that read alike."""
        for child in self._trace.children(parent):
            if self._kinds[child] not in schema.CALLS:
                label = self._label(child)
                self._nth[child] = self._told[parent, label]
                self._told[parent, label] += 1

    def _label(self, step: int) -> str:
        if self._kinds[step] != schema.LINE:
            return str(self._types[step])
        line, file = self._trace.column("line")[step], self._trace.column("file")[step]
        text = self._trace.source(file)
        known = line == line and line is not None and 0 < line <= len(text)
        return text[int(line) - 1].strip() if known else f"line {line}"
