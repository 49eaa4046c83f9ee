"""The names in one call as its lines bind them: which tensor a name stood for when a line read it."""

from __future__ import annotations

import re
from bisect import bisect_left

import numpy as np

from ...flow.reads import variable
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace

_MOST_LINES = 20  # of a statement
_LONGEST = 2_000  # characters of one
_CHANGES = re.compile(  # `x[i] = …`, `x.y[i] += …`, `outs.append(…)`, `x.index_add_(…)`: what a line writes to, unbound
    r"\s*([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*(?:\[.*?\]\s*[-+*/@|&^]?=(?!=)|\.(?:append|extend|insert|update|add|[a-z]\w*_)\()",
    re.DOTALL,
)

_CALLS = re.compile(r"\s*(?!(?:print|assert|return|raise|if|elif|for|while|with|del)\b|\w*log\w*\.)[A-Za-z_][\w.]*\(")
_NAMES = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?!\s*[(=\w])")


class CallScope:
    """What the names of a call stand for, line by line."""

    def __init__(self, trace: Trace, call: int) -> None:
        self.call = call
        self._bound: dict[str, list[tuple[int, list[TensorRow]]]] = {}
        self._changed: dict[str, list[int]] = {}
        kinds = trace.column("kind")
        self._bind(call, [row for row in trace.tensors_of(call) if row.role == schema.INPUT])
        self.lines = [at for at in trace.children(call) if kinds[at] == schema.LINE]
        for at in self.lines:
            rows = [row for row in trace.tensors_of(at) if row.role == schema.LOCAL]
            if rows:
                self._bind(at, rows)
            else:
                for name in _changed(written(trace, at)):
                    self._changed.setdefault(name, []).append(at)

    def _bind(self, at: int, rows: list[TensorRow]) -> None:
        for row in rows:
            places = self._bound.setdefault(variable(row.name), [])
            if places and places[-1][0] == at:
                places[-1][1].append(row)
            else:
                places.append((at, [row]))

    def lookup(self, name: str, before: int) -> tuple[list[TensorRow], list[int]]:
        """The tensors that a variable held when the line at `before` began, and the lines that have written into it."""
        places = self._bound.get(name, [])
        at = bisect_left(places, before, key=lambda place: place[0]) - 1
        since = places[at][0] if at >= 0 else -1
        changes = [line for line in self._changed.get(name, ()) if since < line < before]
        return (places[at][1] if at >= 0 else []), changes

    def returning(self, trace: Trace) -> int | None:
        """The line that returned: the last one that says so, else the last one that ran."""
        for at in reversed(self.lines[-3:]):
            if written(trace, at).lstrip().startswith("return"):
                return at
        return self.lines[-1] if self.lines else None


def _changed(statement: str) -> set[str]:
    """The variables that a statement which binds nothing may have written to: its target, or what it gave to a call."""
    target = _CHANGES.match(statement)
    if target is not None:
        return {target[1]}
    called = _CALLS.match(statement)
    return set(_NAMES.findall(statement[called.end() :])) if called is not None else set()


def written(trace: Trace, position: int) -> str:
    """The statement that a step stands on, as it is written; empty where it is not known, or is too long to be read."""
    first, last = (trace.column(name)[position] for name in ("line", "end_line"))
    if first is None or not first >= 1:
        return ""
    last = first if last is None or not last >= first else last
    lines = trace.source(trace.column("file")[position])[int(first) - 1 : int(min(last, first + _MOST_LINES))]
    text = "\n".join(lines)
    return text if len(text) <= _LONGEST else ""


def body(trace: Trace, position: int) -> str:
    """The code of the function that a call ran, without comments; empty where there is no copy of it."""
    first = trace.column("def_line")[position]
    if first is None or not first >= 1:
        return ""
    lines = trace.source(trace.column("def_file")[position])[int(first) - 1 : int(first) + 300]
    indents = [len(line) - len(line.lstrip()) if line.strip() else None for line in lines]
    start = next((at for at, line in enumerate(lines) if line.lstrip().startswith("def ")), 0)
    depth = (indents[start] if lines else 0) or 0
    open_ = np.cumsum([line.count("(") - line.count(")") for line in lines[start:]]).tolist()
    found = []
    for at in range(start, len(lines)):
        indent = indents[at]
        if at > start and indent is not None and indent <= depth and open_[at - start - 1] <= 0:
            break
        found.append(lines[at].partition("#")[0])
    return "\n".join(found[1:])
