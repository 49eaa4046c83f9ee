"""The rows of steps and tensors that wait to be written.

Hundreds arrive in a forward of a few milliseconds. They are kept in flat lists: a few numbers for each row, and a
reference to what it shares with others (a place, a tensor's record). No object is made for a row, so that Python's
garbage collector has nothing to visit. Columns are put together when a batch is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..trace import schema
from ..trace.arrays import column_of, distinct, floats_of, repeated, statistics_of
from ..trace.writer import TraceWriter
from .calls import Call, Place
from .measure.identity import SUMMARY, Record
from .measure.summaries import Summaries

_KEPT_BACK = 65536  # rows that may wait for the statistics of an accelerator
# The entries of a row.
STEP = ["place", "step", "parent", "depth", "forward", "occurrence", "start_ns", "duration_ns", "status", "equation"]
TENSOR = ["step", "role", "name", "record"]
_STEP, _TENSOR = len(STEP), len(TENSOR)
OF = "of "  # before the equation, in the place of the role of a tensor that one was seen to be computed from


class Rows:
    """The queues of steps and tensors.

    Args:
        writer: Receives the rows.
        rank: The number of this process.
        summaries: Resolves statistics, which an accelerator may still owe.
        kept: Where tensors are kept whole, by their numbers.
    """

    def __init__(self, writer: TraceWriter, rank: int, summaries: Summaries, kept: dict[int, str]) -> None:
        self._writer, self._rank, self._summaries, self._kept = writer, rank, summaries, kept
        self._steps: list[Any] = []
        self.tensors: list[Any] = []  # step, role, name and record of each tensor, one after the other
        self.edited: list[tuple[int, str]] = []  # steps whose result was changed on purpose, and how
        self._any_seen = False  # whether some of them are those of an equation that was seen

    def step(self, call: Call, duration_ns: int | None, status: str, equation: str | None) -> None:
        """Queue the row of a step that has ended, or still runs."""
        parent = call.parent
        self._steps += (
            call.place,
            call.step,
            None if parent is None else parent.step,
            call.depth,
            call.forward,
            call.occurrence,
            call.start_ns,
            duration_ns,
            status,
            equation,
        )

    def seen(self, step: int, equation: str, symbol: str, record: Record) -> None:
        """Queue the row of a tensor that a symbol stood for, of an equation that was seen in what a step ran."""
        self._any_seen = True
        self.tensors += (step, f"{OF}{equation}", symbol, record)

    @property
    def ready(self) -> bool:
        """Whether the rows can be written without waiting for an accelerator."""
        return self._summaries.ready

    @property
    def overfull(self) -> bool:
        """Whether there are more rows than should wait in memory."""
        return len(self._steps) >= _KEPT_BACK * _STEP or len(self.tensors) >= _KEPT_BACK * _TENSOR

    def flush(self) -> None:
        """Hand all rows to the writer. Those whose table an interrupt keeps from being written wait on."""
        self.write(self._writer, self._steps, [])
        self._steps = []
        self.write(self._writer, [], self.tensors)
        self.tensors = []
        edited, self.edited = self.edited, []
        if edited:
            columns = zip(*edited, strict=True)
            self._writer.write(
                "edited", [column_of(c, kind) for c, kind in zip(columns, schema.EDITED.types, strict=True)]
            )

    def take(self, forward: int) -> tuple[list[Any], list[Any], set[int]]:
        """Remove the rows of a forward from the queues.

        Returns:
            The rows of its steps, those of its tensors, and the numbers of its steps.
        """
        if all(map(forward.__eq__, self._steps[4::_STEP])):  # as it is where one thread runs the model
            taken, self._steps = self._steps, []
        else:
            taken, self._steps = _parted(self._steps, _STEP, 4, forward.__eq__)
        numbers = set(taken[1::_STEP])
        if numbers.issuperset(self.tensors[::_TENSOR]):
            tensors, self.tensors = self.tensors, []
        else:
            tensors, self.tensors = _parted(self.tensors, _TENSOR, 0, numbers.__contains__)
        return taken, tensors, numbers

    def take_tensors(self, wanted: Callable[[int], bool]) -> list[Any]:
        """Remove the rows of tensors from the queue whose steps are wanted, and return them."""
        taken, self.tensors = _parted(self.tensors, _TENSOR, 0, wanted)
        return taken

    def held(self, tensors: list[Any]) -> tuple[int, list[Any]]:
        """The number of this process, and the rows of tensors with statistics that are known."""
        records = tensors[3::_TENSOR]
        found = self._summaries([record[SUMMARY] for record in records])
        tensors = [*tensors]
        tensors[3::_TENSOR] = [(*record[:SUMMARY], one) for record, one in zip(records, found, strict=True)]
        return self._rank, tensors

    def write(self, writer: TraceWriter, steps: list[Any], tensors: list[Any]) -> None:
        """Write these rows with a writer."""
        if steps:
            writer.write("steps", _step_columns(steps, self._rank))
        if self._any_seen:
            seen, tensors = _parted(tensors, _TENSOR, 1, lambda role: role.startswith(OF))
            if seen:
                seen[1::_TENSOR] = [role.removeprefix(OF) for role in seen[1::_TENSOR]]
                writer.write("seen", self._tensor_columns(seen))
        if tensors:
            writer.write("tensors", self._tensor_columns(tensors))

    def _tensor_columns(self, rows: list[Any]) -> list[Any]:
        records, index = distinct(rows[3::_TENSOR])
        numbers, *form, summaries = zip(*records, strict=True)
        statistics = floats_of(self._summaries(summaries)).reshape(-1, 8)
        kinds = iter(schema.TENSORS.types)
        own = [column_of(rows[at::_TENSOR], next(kinds)) for at in range(3)]
        own += [repeated(column, next(kinds), index) for column in (numbers, *form)]
        own += [statistics_of(column, next(kinds)) for column in statistics[index].T]
        return [*own, repeated([self._kept.get(number) for number in numbers], next(kinds), index)]


def _parted(rows: list[Any], width: int, at: int, wanted: Callable[[Any], bool]) -> tuple[list[Any], list[Any]]:
    """Split flat rows into those whose entry `at` is wanted, and the others."""
    parts: tuple[list[Any], list[Any]] = [], []
    for start in range(0, len(rows), width):
        parts[not wanted(rows[start + at])].extend(rows[start : start + width])
    return parts


def _step_columns(rows: list[Any], rank: int) -> list[Any]:
    places, step, parent, depth, forward, occurrence, start, duration, status, equation = (
        rows[at::_STEP] for at in range(_STEP)
    )
    all_places, index = distinct(places)
    shared = dict(zip(Place._fields, zip(*all_places, strict=True), strict=True))
    own = {
        "step": step,
        "parent": parent,
        "depth": depth,
        "forward": forward,
        "rank": [rank] * len(step),
        "occurrence": occurrence,
        "start_ns": start,
        "duration_ns": duration,
        "status": status,
        "equation": equation,
    }
    return [
        column_of(own[field.name], field.type) if field.name in own else repeated(shared[field.name], field.type, index)
        for field in schema.STEPS
    ]
