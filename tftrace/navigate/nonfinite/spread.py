"""How NaN and Inf spread: a bad tensor has its origins from what it was made of, or is one.

They are gone through in the order in which they came to be, so that what a tensor was made of is known before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .bad_rows import MADE as MADE_ROLES
from .bad_rows import BadRow, Place, bad_rows
from .call_scope import written
from .fills import is_fill, is_mask_input, is_unwritten
from .saturation import is_saturation
from .statement import operations
from .step_sources import INNOCENT, Key, Ledger, Sources

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
        self._handed_on: set[Place] = set()  # places that made what they read bad
        self._position = trace.tensor_positions
        for one in bad_rows(trace):
            self._meet(one)
        self.idle_parameters = len(self.ledger.parameters.keys() - self._used)

    def reached(self) -> list[set[int]]:
        """For each birth the positions of the steps that returned or bound something that comes from it."""
        codes, words = self.trace.words("role", "tensors")
        made = np.isin(codes, [at for at, word in enumerate(words) if word in MADE_ROLES])
        found: list[set[int]] = [set() for _ in self.births]
        for bits, rows in self._rows.items():
            positions = set(self._position[[row for row in rows if made[row]]].tolist())
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

    def arrived(self, birth: Birth) -> bool:
        """Whether it came from another process: the same step there took what was bad already."""
        trace, at = self.trace, birth.position
        same = trace.column("rank") != trace.column("rank")[at]
        if birth.how != MADE or not same.any():
            return False
        for name in ("name", "kind", "forward", "line", "occurrence"):
            column = trace.words(name)[0] if name in ("name", "kind") else trace.column(name)
            same &= (column == column[at]) | ((column != column) & (column[at] != column[at]))
        line = trace.column("kind")[at] == schema.LINE
        there = np.flatnonzero(same).tolist()
        return any((self.ledger.of_line(one) if line else self.ledger.of_call(one)).bits for one in there)

    def tensor(self, birth: Birth) -> TensorRow:
        """The tensor that was born."""
        return self._row(birth.row)

    def _row(self, row: int) -> TensorRow:
        at = int(self._position[row])
        return self.trace.tensors_of(at)[row - int(self.trace.bounds("tensors")[at])]

    def _meet(self, one: BadRow) -> None:
        ledger, key, role = self.ledger, one.key, one.role
        if role == schema.PARAMETER:
            if not one.finite:
                self._weigh(one)
            return
        if role == schema.INPUT and key in ledger.parameters:
            return
        if one.finite:
            self._meet_full(one)
            return
        bits = ledger.state.get(key)
        if bits is None:
            bits = ledger.state[key] = self._appear(one)
        if bits == INNOCENT:
            return
        self._rows.setdefault(bits, []).append(one.row)
        known = self._returned if one.call < 0 else ledger.in_call
        at = key[0] if one.call < 0 else one.call
        known[at] = known.get(at, 0) | bits
        if role == schema.LOCAL:
            ledger.at_line[one.place[:3]] = bits

    def _weigh(self, one: BadRow) -> None:
        """A parameter that is bad; it counts where something is made with it."""
        row = self._row(one.row)
        name = f"{self.trace.column('name')[one.at] or ''}.{row.name}".lstrip(".")
        self.ledger.parameters.setdefault(one.key, (name, row))
        self.ledger.named[one.key[0], name] = one.key

    def _meet_full(self, one: BadRow) -> None:
        """A tensor that holds the largest number there is: an origin, if torch saturates there for the first time."""
        if one.key in self._full:
            return
        self._full.add(one.key)
        if one.body < 0:
            return
        position, found = self._maker(one)
        known = any((one.key[0], row.tensor) in self._full for row in found.rows)
        if known or found.bits or found.parameters:
            return
        if is_saturation(self.trace, position, self._row(one.row), found):
            self._born(Birth(position, one.row, SATURATED, found))

    def _appear(self, one: BadRow) -> int:
        """A bad tensor is seen for the first time: its bits."""
        if one.body < 0:
            return self._given(one)
        inside = self.ledger.in_call.get(one.body, 0)
        leaf = one.role == schema.OUTPUT and bool(self.trace.ends[one.at] == one.at + 1)
        if inside and (leaf or one.place in self._handed_on):
            return inside  # what this very line did in a forward before, it does again
        position, found = self._maker(one)
        if found.bits:
            self._handed_on.add(one.place)
        return self._leaf(one, found) if leaf else self._judge(one, position, found)

    def _maker(self, one: BadRow) -> tuple[int, Sources]:
        """The innermost step or line that made what a step is the first to have seen, and what it read."""
        trace, ledger, at = self.trace, self.ledger, one.at
        if one.role == schema.LOCAL:
            return self._line(at)
        if one.role == schema.OUTPUT:
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
            return found.changes[-1], found
        return at, found

    def _given(self, one: BadRow) -> int:
        """An input of a whole model: NaN of an earlier forward, a mask, or an origin of its own."""
        bits = self._returned.get(one.key[0], 0)
        if bits:
            return bits
        if is_mask_input(self.trace, self._row(one.row)):
            self.innocent.add(one.at)
            return INNOCENT
        return self._born(Birth(one.at, one.row, INPUT))

    def _leaf(self, one: BadRow, found: Sources) -> int:
        """What a step returned in which nothing was recorded. Its weights may have changed since they were: they stand
        with its first call only."""
        roles = [row.role for row in self.trace.tensors_of(one.at)]
        first, last = self.trace.bounds("tensors")[one.at : one.at + 2].tolist()
        later = schema.PARAMETER in roles[last - first :]  # those of the first call stand behind its own
        stale = later and one.nan and not (found.bits or found.parameters or found.masks)
        if stale and (bits := self._returned.get(one.key[0], 0)):
            return bits
        return self._judge(one, one.at, found, PARAMETER if stale else MADE)

    def _judge(self, one: BadRow, at: int, found: Sources, how: str = MADE) -> int:
        """The bits of a tensor that a step or line made from these."""
        if found.bits:
            return found.bits
        if found.parameters:
            self._used.update(found.parameters)
            known = next((self._by_parameter[key] for key in found.parameters if key in self._by_parameter), None)
            if known is not None:
                return known
            bits = self._born(Birth(at, one.row, PARAMETER, found))
            self._by_parameter.update(dict.fromkeys(found.parameters, bits))
            return bits
        if is_unwritten(self.trace, at, found):
            return INNOCENT
        if how == MADE and not one.nan and is_fill(self.trace, at, self._row(one.row), found):
            if not found.masks:
                self.innocent.add(at)
            return INNOCENT
        return self._born(Birth(at, one.row, how, found))

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
