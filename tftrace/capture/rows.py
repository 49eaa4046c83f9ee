"""The rows of steps and tensors on their way to disk.

Hundreds arrive in a forward of a few milliseconds, so that one is a short tuple that points to what it shares with
others (its place, its tensor's record); the columns are put together when a batch goes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .. import schema
from ..writer import TraceWriter
from .calls import Call, Place
from .identity import Record
from .summaries import Summaries

_MANY = 8192  # rows of a batch
_KEPT_BACK = 65536  # rows that may wait for an accelerator's statistics


class Rows:
    """Queues of steps and tensors. `summaries` gives the statistics of records, which an accelerator may still owe."""

    def __init__(self, writer: TraceWriter, rank: int, summaries: Summaries) -> None:
        self._writer, self._rank, self._summaries = writer, rank, summaries
        self._steps: list[tuple[Any, ...]] = []
        self._tensors: list[tuple[int, str, str, Record]] = []
        self.tensor = self._tensors.append  # (step, role, name, record)

    def step(self, call: Call, duration_ns: int | None, status: str, equation: str | None) -> None:
        """Queue the row of a step that ended, or of one that still runs."""
        parent = call.parent
        self._steps.append(
            (
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
        )

    @property
    def full(self) -> bool:
        """Whether there is a batch's worth of rows."""
        return len(self._steps) >= _MANY or len(self._tensors) >= _MANY

    @property
    def ready(self) -> bool:
        """Whether the rows can be written without waiting for an accelerator."""
        return self._summaries.ready

    @property
    def overfull(self) -> bool:
        """Whether there are more rows than should wait in memory, whatever they wait for."""
        return len(self._steps) >= _KEPT_BACK or len(self._tensors) >= _KEPT_BACK

    def flush(self) -> None:
        """Hand all rows to the writer."""
        steps, self._steps = self._steps, []
        tensors, self._tensors = self._tensors, []
        self.tensor = self._tensors.append
        if steps:
            self._writer.write("steps", _step_columns(steps, self._rank))
        if tensors:
            self._writer.write("tensors", self._tensor_columns(tensors))

    def _tensor_columns(self, rows: list[tuple[int, str, str, Record]]) -> list[Any]:
        step, role, name, records = zip(*rows, strict=True)
        distinct, index = _distinct(records)
        numbers = np.array([_numbers(s) for s in self._summaries(distinct)], np.float64).reshape(-1, 8)
        shared: list[Any] = [[r.number for r in distinct], [r.shape for r in distinct]]
        shared += [[getattr(r, column) for r in distinct] for column in ("dtype", "device", "numel", "nbytes")]
        shared += [pa.array(column, from_pandas=True) for column in numbers.T]
        shared += [[r.value for r in distinct]]
        own = [pa.array(column, field.type) for column, field in zip((step, role, name), schema.TENSORS, strict=False)]
        return own + [
            _typed(column, field.type).take(index)
            for column, field in zip(shared, list(schema.TENSORS)[3:], strict=True)
        ]


def _step_columns(rows: list[tuple[Any, ...]], rank: int) -> list[Any]:
    places, step, parent, depth, forward, occurrence, start, duration, status, equation = zip(*rows, strict=True)
    distinct, index = _distinct(places)
    shared = dict(zip(Place._fields, zip(*distinct, strict=True), strict=True))
    own = {
        "step": step,
        "parent": parent,
        "depth": depth,
        "forward": forward,
        "rank": [rank] * len(rows),
        "occurrence": occurrence,
        "start_ns": start,
        "duration_ns": duration,
        "status": status,
        "equation": equation,
    }
    return [
        pa.array(own[field.name], field.type)
        if field.name in own
        else pa.array(shared[field.name], field.type).take(index)
        for field in schema.STEPS
    ]


def _distinct(objects: Sequence[Any]) -> tuple[list[Any], pa.Array]:
    """The distinct objects in order of first sight, and for each object its position among them."""
    position: dict[int, int] = {}
    found: list[Any] = []
    index = np.empty(len(objects), np.int32)
    for at, item in enumerate(objects):
        place = position.get(id(item))
        if place is None:
            place = position[id(item)] = len(found)
            found.append(item)
        index[at] = place
    return found, pa.array(index)


def _numbers(summary: tuple[Any, ...]) -> tuple[float, ...]:
    """No statistic is ever NaN, which can so stand for a missing one."""
    return summary if None not in summary else tuple([np.nan if x is None else x for x in summary])


def _typed(column: Any, kind: pa.DataType) -> pa.Array:
    return column.cast(kind) if isinstance(column, pa.Array) else pa.array(column, kind)
