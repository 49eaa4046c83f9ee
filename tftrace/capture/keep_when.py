"""Keeps only forwards that meet a condition, which is known only when a forward has ended.

Nothing is written or read to find that out: a column that the condition asks for is taken from the rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..navigate.condition import Both, Condition, Not, fits, parse
from ..navigate.live_breakpoint import asks_verdicts
from ..trace import schema
from ..trace.trace import Trace
from ..trace.writer import TraceWriter
from .calls import Place
from .check.checker import Checker
from .measure.identity import NBYTES, SUMMARY
from .pending_rows import OF, STEP, TENSOR, Rows

# Where something stands in a row, or in what a row refers to.
_STEP = {name: at for at, name in enumerate(STEP)}
_PLACE = {name: at for at, name in enumerate(Place._fields)}
_TENSOR = {name: at for at, name in enumerate(TENSOR)}
_CHECK = {name: at for at, name in enumerate(schema.CHECKS.names)}
_OF_RECORD = {"tensor": 0, "dtype": 2, "device": 3, "numel": 4, "nbytes": NBYTES}
_STATISTIC = {name: at for at, name in enumerate(schema.STATISTICS)}


class Sieve:
    """Holds back everything that belongs to a forward until it ends.

    Args:
        when: The condition.
        rows: The queued rows.
        writer: Receives the rows of forwards that are kept.
        checker: Judges the equations, if they are checked.
        forget: Called with the number of each tensor of a forward that is dropped.
        dropped: Called with the number of a forward that is dropped.
    """

    def __init__(
        self,
        when: str,
        rows: Rows,
        writer: TraceWriter,
        checker: Checker | None,
        forget: Callable[[int], None],
        dropped: Callable[[int], None],
    ) -> None:
        self._when, self._condition = when, parse(when, tensors=True)
        self._rows, self._writer, self._checker, self._forget, self._dropped = rows, writer, checker, forget, dropped
        self._kept: set[int] = set()  # numbers of steps
        self._forwards = 0  # how many were dropped
        self._unknown = _tensors(self._condition)  # names of tensors that no step has had so far
        self._asks_verdicts = asks_verdicts(self._condition)
        # Rows of kept forwards that are not written yet, and of checks of which it is not known yet whether they are.
        self._steps: list[Any] = []
        self._tensors: list[Any] = []
        self._checks: list[tuple[Any, ...]] = []

    def end(self, forward: int) -> None:
        """Keep the rows of a forward that has ended until the next `flush`, or drop them."""
        steps, tensors, numbers = self._rows.take(forward)
        checks: list[tuple[Any, ...]] = []
        if self._asks_verdicts and self._checker is not None:
            self._checker.verdicts(True)
            self._checks += self._writer.take("checks")
            checks = [row for row in self._checks if row[0] in numbers]
        if self._true(steps, tensors, checks):
            self._kept |= numbers
            self._steps += steps
            self._tensors += tensors
            return
        self._forwards += 1
        for record in tensors[_TENSOR["record"] :: len(TENSOR)]:
            self._forget(record[0])
        self._dropped(forward)

    def flush(self, running: int, ended: bool) -> None:
        """Write what belongs to steps that are kept, later rows (gradients) too, and drop what belongs to others.

        Steps from number `running` on may belong to a forward that has not ended; their rows stay queued. If the
        recording has `ended`, every check is judged first.
        """
        if self._checker is not None:
            self._checker.verdicts(ended)
            self._checks += self._writer.take("checks")
        self.write_kept()
        self._rows.write(self._writer, [], self._rows.take_tensors(self._kept.__contains__))
        self._rows.take_tensors(lambda step: step < running)
        checks, self._checks = self._checks, []
        for row in checks:
            if row[0] in self._kept:
                self._writer.add("checks", row)
            elif row[0] >= running:
                self._checks.append(row)
        self._writer.flush("checks")

    def write_kept(self) -> None:
        """Write the rows of the forwards that are kept."""
        steps, self._steps = self._steps, []
        tensors, self._tensors = self._tensors, []
        self._writer.describe()
        self._rows.write(self._writer, steps, tensors)

    def left_out(self) -> list[str]:
        """Say, in sentences, what was dropped."""
        said = []
        if self._forwards:
            said.append(f"{self._forwards} forwards did not meet {self._when!r} and are not in the trace.")
        if self._unknown and self._forwards:
            said.append(f"No step returned or bound a tensor {' or '.join(sorted(self._unknown))!r}: check the name.")
        return said

    def _true(self, steps: list[Any], tensors: list[Any], checks: list[tuple[Any, ...]]) -> bool:
        """Whether one of the steps meets the condition, as a reader of the trace would find."""
        rank, tensors = self._rows.held(tensors)
        held = HeldForward(self._writer.meta, rank, steps, tensors, checks)
        if self._unknown:
            self._unknown -= set(held.words("name", "tensors")[1])
        return bool(fits(held, self._condition).any())


class HeldForward(Trace):
    """The steps of one forward, in the order in which they ended, and what belongs to them.

    Args:
        meta: meta.json of the trace that it may come into.
        rank: The number of this process.
        steps: The rows of its steps, one after the other, as `Rows` holds them.
        tensors: The rows of its tensors, likewise; their statistics are known.
        checks: The rows of its checks, as the schema has them.
    """

    def __init__(
        self, meta: dict[str, Any], rank: int, steps: list[Any], tensors: list[Any], checks: Sequence[tuple[Any, ...]]
    ) -> None:
        self.path, self.meta = Path(), meta
        self._rank, self._steps, self._checks = rank, steps, checks
        self._numbers = steps[_STEP["step"] :: len(STEP)]
        self._records = tensors[_TENSOR["record"] :: len(TENSOR)]
        self._roles = tensors[_TENSOR["role"] :: len(TENSOR)]
        self._names, self._owners = tensors[_TENSOR["name"] :: len(TENSOR)], tensors[:: len(TENSOR)]

    def __len__(self) -> int:
        return len(self._numbers)

    def column(self, name: str, table: str = "steps") -> np.ndarray:
        """A column, as a trace that is read has it."""
        values = self._values(name, table)
        if schema.TABLES[table].field(name).type == schema.STEPS.field("name").type:
            return np.array([*values, None], object)[:-1]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def words(self, name: str, table: str = "steps") -> tuple[np.ndarray, list[str]]:
        """A text column as codes and texts."""
        values = self._values(name, table)
        places = {word: at for at, word in enumerate(dict.fromkeys(value for value in values if value is not None))}
        return np.array([places.get(value, -1) for value in values], np.int64), [*places]

    def positions(self, table: str) -> np.ndarray:
        """The position of the step of each row of a table."""
        places = {number: at for at, number in enumerate(self._numbers)}
        owners = self._owners if table == "tensors" else [row[0] for row in self._checks]
        return np.array([places[number] for number in owners], np.int64)

    def _values(self, name: str, table: str) -> Sequence[Any]:
        if table == "checks":
            return [row[_CHECK[name]] for row in self._checks]
        if table == "tensors":
            return self._of_tensors(name)
        if name == "rank":
            return [self._rank] * len(self)
        if name in _STEP:
            return self._steps[_STEP[name] :: len(STEP)]
        return [place[_PLACE[name]] for place in self._steps[:: len(STEP)]]

    def _of_tensors(self, name: str) -> Sequence[Any]:
        if name == "role":
            return self._roles
        if name == "name":
            return [None if role.startswith(OF) else one for one, role in zip(self._names, self._roles, strict=True)]
        if name in _STATISTIC:
            return [record[SUMMARY][_STATISTIC[name]] for record in self._records]
        return [record[_OF_RECORD[name]] for record in self._records]


def _tensors(condition: Condition) -> set[str]:
    """The names of the tensors in a condition."""
    if isinstance(condition, Not):
        return _tensors(condition.inner)
    if isinstance(condition, Both):
        return _tensors(condition.left) | _tensors(condition.right)
    return set() if condition.tensor is None else {condition.tensor}
