"""How NaN and Inf spread: in the order in which tensors came to be, each bad one has its origin from what it was made of, or is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .call_scope import written
from .fills import is_fill, is_mask_input
from .saturation import is_saturation, saturated
from .sources import INNOCENT, Key, Ledger, Sources
from .statement import operations

_MADE = (schema.OUTPUT, schema.LOCAL)
INPUT, PARAMETER, MADE, SATURATED = "input", "parameter", "made", "saturated"


@dataclass
class Birth:
    """A tensor that is bad although nothing it was made from was (or a parameter, or an input of the model)."""

    position: int  # the innermost step or line
    row: int  # of the tensors table
    how: str  # INPUT, PARAMETER, MADE or SATURATED
    sources: Sources = field(default_factory=Sources)


class Spread:
    """The births of a run, and for each bad row of the tensors table the births it comes from, as bits."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.births: list[Birth] = []
        self.innocent: set[int] = set()  # positions where a mask was filled
        self.ledger = Ledger(trace)
        self._rows: dict[int, list[int]] = {}  # bits of births -> bad rows that come from all of those
        self._full: set[Key] = set()  # tensors that hold the largest number of their dtype
        self._by_parameter: dict[Key, int] = {}
        self._by_step: dict[int, int] = {}  # a step or line that made several is one birth
        self._used: set[Key] = set()
        self._returned: dict[int, int] = {}  # rank -> bits of what its roots have returned
        self._position, self._role = trace.tensor_positions, trace.words("role", "tensors")
        self._nan, self._inf = trace.column("nan", "tensors"), trace.column("inf", "tensors")
        for row, key in self._in_order():
            self._meet(row, key)
        self.idle_parameters = len(self.ledger.parameters.keys() - self._used)

    def reached(self) -> list[set[int]]:
        """For each birth the positions of the steps that returned or bound something that comes from it."""
        found: list[set[int]] = [set() for _ in self.births]
        for bits, rows in self._rows.items():
            positions = {int(self._position[row]) for row in rows if self._role_of(row) in _MADE}
            for at in _numbers(bits):
                found[at] |= positions
        return found

    def rows_of(self, birth: int, most: int) -> list[tuple[int, TensorRow]] | None:
        """The bad tensors that come from a birth, each with the position of its step; None for more than `most`."""
        rows = [row for bits, some in self._rows.items() if bits >> birth & 1 for row in some]
        if len(rows) > most:
            return None
        rows.sort(key=lambda row: (-self.trace.ends[self._position[row]], -row))  # the model's results come first
        return [(int(self._position[row]), self._row(row)) for row in rows]

    def tensor(self, birth: Birth) -> TensorRow:
        """The tensor that was born."""
        return self._row(birth.row)

    def _in_order(self) -> Iterator[tuple[int, Key]]:
        """The rows with NaN or Inf in the order in which they were seen: what a step took as it was entered, what it
        returned after all that ran in it."""
        trace = self.trace
        bad = (self._nan > 0) | (self._inf > 0)
        rows = np.flatnonzero(bad | saturated(trace))
        codes, words = self._role
        wanted = [at for at, word in enumerate(words) if word in (*_MADE, schema.INPUT, schema.PARAMETER)]
        rows = rows[np.isin(codes[rows], wanted)]
        if not len(rows):
            return
        at = self._position[rows]
        left = np.isin(codes[rows], [n for n, word in enumerate(words) if word in _MADE])
        given = np.isin(codes[rows], [n for n, word in enumerate(words) if word == schema.INPUT])
        time = np.where(left, trace.ends[at] - 1, at)
        order = np.lexsort((rows, given, np.where(left, -trace.column("depth")[at], 0), left, time))
        tensors, ranks = trace.column("tensor", "tensors")[rows], trace.column("rank")[at]
        for n in order.tolist():
            number = tensors[n]
            yield int(rows[n]), (int(ranks[n]), int(number) if number == number else -2 - int(rows[n]))

    def _row(self, row: int) -> TensorRow:
        at = int(self._position[row])
        return self.trace.tensors_of(at)[row - int(self.trace.bounds("tensors")[at])]

    def _role_of(self, row: int) -> str:
        code = self._role[0][row]
        return self._role[1][code] if code >= 0 else ""

    def _meet(self, row: int, key: Key) -> None:
        ledger, at, role = self.ledger, int(self._position[row]), self._role_of(row)
        if role == schema.PARAMETER:
            if not (self._nan[row] > 0 or self._inf[row] > 0):
                return
            found = self._row(row)
            name = f"{self.trace.column('name')[at] or ''}.{found.name}".lstrip(".")
            ledger.parameters.setdefault(key, (name, found))
            ledger.named[key[0], name] = key
            return
        if key in ledger.parameters and role == schema.INPUT:
            return
        if not (self._nan[row] > 0 or self._inf[row] > 0):
            self._meet_full(row, at, role, key)
            return
        bits = ledger.state.get(key)
        if bits is None:
            bits = ledger.state[key] = self._appear(row, at, role)
        if bits == INNOCENT:
            return
        self._rows.setdefault(bits, []).append(row)
        above = self.trace.parent(at)
        call = self.trace.call_of(at) if role != schema.OUTPUT else None if above is None else self.trace.call_of(above)
        if call is None:
            self._returned[key[0]] = self._returned.get(key[0], 0) | bits
        else:
            ledger.in_call[call] = ledger.in_call.get(call, 0) | bits
        if self.trace.column("kind")[at] == schema.LINE:
            ledger.at_line[ledger.place(at)] = bits

    def _meet_full(self, row: int, at: int, role: str, key: Key) -> None:
        """A tensor that holds the largest number there is: an origin, if torch saturates there for the first time."""
        if key in self._full:
            return
        self._full.add(key)
        if role == schema.INPUT and self.trace.parent(at) is None:
            return
        position, found = self._maker(at, role)
        known = any((key[0], one.tensor) in self._full for one in found.rows)
        if not (known or found.bits or found.parameters) and is_saturation(self.trace, position, self._row(row), found):
            self._born(Birth(position, row, SATURATED, found))

    def _appear(self, row: int, at: int, role: str) -> int:
        """A bad tensor is seen for the first time: its bits."""
        if role == schema.INPUT and self.trace.parent(at) is None:
            return self._given(row, at)
        position, found = self._maker(at, role)
        if position == at and role == schema.OUTPUT and self.trace.ends[at] == at + 1:
            return self._leaf(row, at, found)
        return self._judge(row, position, found)

    def _maker(self, at: int, role: str) -> tuple[int, Sources]:
        """The innermost step or line that made what the step at `at` is the first to have seen, and what it read."""
        trace, ledger = self.trace, self.ledger
        if role == schema.LOCAL:
            return self._line(at)
        if role == schema.OUTPUT:
            if trace.ends[at] == at + 1:
                return at, ledger.of_call(at)
            line = ledger.scope(at).returning(trace)
            return (at, ledger.of_call(at, inside=True)) if line is None else self._line(line)
        above = int(trace.parents[at])
        if trace.column("kind")[above] == schema.LINE:
            return self._line(above, at)
        return above, ledger.of_call(above, inside=True)

    def _line(self, at: int, call: int | None = None) -> tuple[int, Sources]:
        """A line and what it read; or, where it only hands on what an earlier line wrote to in place, that line."""
        found = self.ledger.of_line(at, call)
        if found.changes and not found.bits and not operations(self.trace, at, written(self.trace, at)):
            return found.changes[-1], self.ledger.of_line(found.changes[-1])
        return at, found

    def _given(self, row: int, at: int) -> int:
        """An input of a whole model: NaN of an earlier forward, a mask, or an origin of its own."""
        bits = self._returned.get(self.ledger.rank(at), 0)
        if bits:
            return bits
        if is_mask_input(self.trace, at, self._row(row)):
            self.innocent.add(at)
            return INNOCENT
        return self._born(Birth(at, row, INPUT))

    def _leaf(self, row: int, at: int, found: Sources) -> int:
        """What a step returned in which nothing was recorded. Its weights may have changed since they were: they stand
        with its first call only."""
        roles = [one.role for one in self.trace.tensors_of(at)]
        first, last = self.trace.bounds("tensors")[at : at + 2].tolist()
        later = schema.PARAMETER in roles[last - first :]  # those of the first call stand behind its own
        stale = later and self._nan[row] > 0 and not (found.bits or found.parameters or found.masks)
        if stale and (bits := self._returned.get(self.ledger.rank(at), 0)):
            return bits
        return self._judge(row, at, found, PARAMETER if stale else MADE)

    def _judge(self, row: int, at: int, found: Sources, how: str = MADE) -> int:
        """The bits of a tensor that a step or line made from these."""
        if found.bits:
            return found.bits
        if found.parameters:
            self._used.update(found.parameters)
            known = next((self._by_parameter[key] for key in found.parameters if key in self._by_parameter), None)
            if known is not None:
                return known
            bits = self._born(Birth(at, row, PARAMETER, found))
            self._by_parameter.update(dict.fromkeys(found.parameters, bits))
            return bits
        if how == MADE and not self._nan[row] > 0 and is_fill(self.trace, at, self._row(row), found):
            if not found.masks:
                self.innocent.add(at)
            return INNOCENT
        return self._born(Birth(at, row, how, found))

    def _born(self, birth: Birth) -> int:
        if birth.how not in (INPUT, SATURATED) and birth.position in self._by_step:
            return self._by_step[birth.position]
        self.births.append(birth)
        bits = 1 << (len(self.births) - 1)
        if birth.how != SATURATED:
            self._by_step[birth.position] = bits
        return bits


def _numbers(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
