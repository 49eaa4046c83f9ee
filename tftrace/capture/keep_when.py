"""Keeps only forwards that meet a condition, which is known only when a forward has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..navigate.condition import Both, Condition, Not, fits, parse
from ..trace.trace import Trace
from ..trace.writer import TraceWriter
from .check.checker import Checker
from .pending_rows import Rows

_RECORD = 3  # index, in a flat row of a tensor, of its record, which begins with its number
_TENSOR = 4


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

    def end(self, forward: int) -> None:
        """Write the rows of a forward that has ended, or drop them."""
        steps, tensors, numbers = self._rows.take(forward)
        checks: list[tuple[Any, ...]] = []
        others: list[tuple[Any, ...]] = []
        if self._checker is not None:
            self._checker.verdicts(True)
            for row in self._writer.take("checks"):
                (checks if row[0] in numbers else others).append(row)
        if self._true(steps, tensors, checks):
            self._kept |= numbers
            self._writer.describe()
            self._rows.write(self._writer, steps, tensors)
            others += checks
        else:
            self._forwards += 1
            for record in tensors[_RECORD::_TENSOR]:
                self._forget(record[0])
            self._dropped(forward)
        for row in others:
            self._writer.add("checks", row)

    def flush(self, running: int) -> None:
        """Write rows that came later (gradients) for steps that are kept, and drop those for other steps.

        Steps from number `running` on may belong to a forward that has not ended; their rows stay queued.
        """
        self._rows.write(self._writer, [], self._rows.take_tensors(self._kept.__contains__))
        self._rows.take_tensors(lambda step: step < running)

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
        with TemporaryDirectory(prefix="tftrace-") as folder:
            writer = TraceWriter(Path(folder), {})
            try:
                self._rows.write(writer, steps, tensors)
                for row in checks:
                    writer.add("checks", row)
                writer.close()
            finally:
                writer.abandon()
            trace = Trace(folder)
            self._unknown -= set(trace.words("name", "tensors")[1])
            return bool(fits(trace, self._condition).any())


def _tensors(condition: Condition) -> set[str]:
    """The names of the tensors in a condition."""
    if isinstance(condition, Not):
        return _tensors(condition.inner)
    if isinstance(condition, Both):
        return _tensors(condition.left) | _tensors(condition.right)
    return set() if condition.tensor is None else {condition.tensor}
