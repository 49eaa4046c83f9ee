"""What a tensor was made from: the tensors that its line reads, that its call took, or that the call's last line read.

Where neither lines nor functions were recorded, what was there before in the same call stands for it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from .producers import producer
from .reads import Reads, reads, rows_of_read, text, variable

Sight = tuple[int, int]  # number of a tensor, and the position of a step that saw it
_MOST_LINES = 20_000  # lines of a call that are searched for the binding of a name
_MOST_PUT = 40  # lines before the end of a call that may have put something into what it returned
# a line that writes in place
_WRITTEN = re.compile(r"\s*([A-Za-z_]\w*)(?:\[.*\]\s*[-+*/@]?=(?!=)|\.(?:\w+_|append|extend)\()")
_MOST_CHILDREN = 400  # calls before a step that may have made what it took


class MadeFrom:
    """Finds the tensors that others were made from. What it finds is remembered as long as the object lives."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._kinds = trace.column("kind")
        self._bound: dict[int, dict[str, list[tuple[int, TensorRow]]]] = {}
        self._writes: dict[int, dict[str, list[int]]] = {}

    def of(self, number: int, step: int) -> list[Sight]:
        """The tensors that the tensor of this number was made from, as a step at this position saw it.

        They are listed once each; weights are not among them. Empty for an input of the model."""
        maker = producer(self._trace, step, number)
        found = list(self._inline(step, number) if maker is None else self._made(maker, number))
        return [one for one in dict.fromkeys(found) if one[0] != number]

    def _made(self, maker: int, number: int) -> Iterable[Sight]:
        if self._kinds[maker] not in schema.CALLS:
            return self._line(reads(self._trace, maker), maker) or self._given(self._trace.call_of(maker))
        below = self._trace.children(maker)
        lines = [at for at in below if self._kinds[at] == schema.LINE]
        if lines:  # what the last line reads is what was returned, but for what a line put into it
            last = self._put(maker, number, lines) or lines[-1]
            return self._line(reads(self._trace, last), last) or self._given(maker)
        made = [sight for at in below[:_MOST_CHILDREN] for sight in self._returned(at)]
        return [*self._given(maker), *made]

    def _put(self, call: int, number: int, lines: list[int]) -> int | None:
        """The line that made a field of what a call returned, such as `outputs.pooler_output = self.pooler(states)`."""
        rows = self._trace.tensors_of(call)
        field = next((row.name for row in rows if row.role == schema.OUTPUT and row.tensor == number), "")
        if not field.isidentifier():
            return None
        puts = re.compile(rf"\.{field}\s*=(?!=)")
        numbers, source = self._trace.column("line"), self._trace.source(self._trace.column("file")[lines[-1]])
        for at in reversed(lines[-_MOST_PUT:]):
            line = numbers[at]
            if line == line and 0 < int(line) <= len(source) and puts.search(source[int(line) - 1]):
                return at
        return None

    def _inline(self, taker: int, number: int) -> Iterable[Sight]:
        """The sources of a tensor that no step returned: it was made in the arguments of the call that took it."""
        parent = self._trace.parent(taker)
        if parent is None:
            return []
        if self._kinds[parent] == schema.LINE:
            found = self._line(reads(self._trace, parent, taker), parent)
            if found:
                return found
        call = self._trace.call_of(parent)
        if any(row.tensor == number for row in self._inputs(call)):
            return self._inline(call, number)
        before = [at for at in self._trace.children(call) if at < taker][-_MOST_CHILDREN:]
        return [*self._given(call), *(sight for at in before for sight in self._returned(at))]

    def _line(self, read: Reads, line: int) -> list[Sight]:
        found = [sight for call in read.calls for sight in self._returned(call)]
        call = self._trace.call_of(line)
        for name in read.names:
            rows = self._bindings(call, variable(name), line)
            chosen = rows_of_read([row for _, row in rows], name)
            same = {id(row) for row in chosen}  # rows of a cache are many, and slow to compare
            found += [(row.tensor, at) for at, row in rows if id(row) in same]
            found += self._written(call, variable(name), max((at for at, _ in rows), default=-1), line)
        return found

    def _written(self, call: int, name: str, bound: int, before: int) -> list[Sight]:
        """The tensors that lines wrote into a variable's value in place, after one bound it: `x[i] = y`."""
        if call not in self._writes:
            known = self._writes[call] = defaultdict(list)
            for at in self._trace.children(call)[:_MOST_LINES]:
                if self._kinds[at] == schema.LINE and (written := _WRITTEN.match(text(self._trace, at))):
                    known[written[1]].append(at)
        lines = [at for at in self._writes[call].get(name, []) if bound < at < before][-_MOST_PUT:]
        found: list[Sight] = []
        for at in lines:
            read = reads(self._trace, at)
            found += [sight for one in read.calls for sight in self._returned(one)]
            for other in read.names:
                rows = self._bindings(call, variable(other), at) if variable(other) != name else []
                found += [(row.tensor, where) for where, row in rows]
        return found

    def _bindings(self, call: int, name: str, before: int) -> list[tuple[int, TensorRow]]:
        """The tensors that a variable of a call's code stood for before a line."""
        if call not in self._bound:
            known = self._bound[call] = {}
            bound: list[tuple[int, TensorRow]] = [(call, row) for row in self._inputs(call)]
            for at in self._trace.children(call)[:_MOST_LINES]:
                if self._kinds[at] == schema.LINE:
                    bound += [(at, row) for row in self._trace.tensors_of(at) if row.role == schema.LOCAL]
            for at, row in bound:
                known.setdefault(variable(row.name), []).append((at, row))
        rows = self._bound[call].get(name, [])  # in the order of their steps
        end = bisect_left(rows, before, key=lambda one: one[0])
        start = end
        while start and rows[start - 1][0] == rows[end - 1][0]:
            start -= 1
        return rows[start:end]

    def _inputs(self, call: int) -> list[TensorRow]:
        return [row for row in self._trace.tensors_of(call) if row.role == schema.INPUT]

    def _given(self, call: int) -> list[Sight]:
        return [(row.tensor, call) for row in self._inputs(call)]

    def _returned(self, call: int) -> list[Sight]:
        rows = self._trace.tensors_of(call)
        return [(row.tensor, call) for row in rows if row.role in (schema.OUTPUT, schema.LOCAL)]
