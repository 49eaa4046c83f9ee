"""Keeps the forwards of which a condition is true, and of the others nothing: known only when a forward has ended."""

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

_RECORD = 3  # the place in a flat row of a tensor of its record, which begins with its number
_TENSOR = 4


class Sieve:
    """Holds back what belongs to a forward until that ends. `dropped` is told of one that is not kept, and
    `forget` of the numbers of its tensors."""

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
        self._kept: set[int] = set()  # steps
        self._forwards = 0  # that were dropped
        self._unknown = _tensors(self._condition)  # names of tensors that no step has had yet

    def end(self, forward: int) -> None:
        """Write a forward that has ended, or drop it."""
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
        """Write what came later to steps that are kept (gradients), and forget what came to others; steps from
        `running` on may belong to a forward that has not ended."""
        self._rows.write(self._writer, [], self._rows.take_tensors(self._kept.__contains__))
        self._rows.take_tensors(lambda step: step < running)

    def left_out(self) -> list[str]:
        """What was dropped, in words."""
        said = []
        if self._forwards:
            said.append(f"{self._forwards} forwards did not meet {self._when!r} and are not in the trace.")
        if self._unknown and self._forwards:
            said.append(f"No step returned or bound a tensor {' or '.join(sorted(self._unknown))!r}: check the name.")
        return said

    def _true(self, steps: list[Any], tensors: list[Any], checks: list[tuple[Any, ...]]) -> bool:
        """Whether the condition is true of one of the steps, found as a reader of the trace would find it."""
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
    """The names of tensors in a condition."""
    if isinstance(condition, Not):
        return _tensors(condition.inner)
    if isinstance(condition, Both):
        return _tensors(condition.left) | _tensors(condition.right)
    return set() if condition.tensor is None else {condition.tensor}
