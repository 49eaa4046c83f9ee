"""Reads which tensors the symbols of an equation stood for that was seen in what a step ran (`rank-*/seen.arrow`)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from . import schema
from .arrays import numpy_of
from .disk.folder import rank_folder
from .rows import TensorRow
from .stream import Stream
from .trace import Trace

FILE = "seen.arrow"


def seen_tensors(trace: Trace, position: int, equation: str) -> dict[str, TensorRow]:
    """Get the tensors of an equation that was seen in what a step ran.

    Args:
        trace: The trace.
        position: The position of the step.
        equation: The id of the equation.

    Returns:
        The tensor of each symbol, as the step or one below it recorded it under a name of its own, if one did, else
        under the symbol. Empty if nothing of the equation was seen there, or the trace does not tell.
    """
    rank, step = int(trace.column("rank")[position]), int(trace.column("step")[position])
    found = trace.derived(_Index).rows(rank, step, equation)
    return {row.name: _recorded(trace, position, row) for row in found}


def places(trace: Trace) -> list[tuple[int, str]]:
    """For each of these tensors that was kept the position of its step, and the place of its value."""
    steps = {
        (int(r), int(s)): at for at, (r, s) in enumerate(zip(trace.column("rank"), trace.column("step"), strict=True))
    }
    found = []
    for rank in trace.ranks:
        table = trace.derived(_Index).table(rank)
        rows = [] if table is None else table[1].columns(["step", "value"]).to_pylist()
        found += [(steps.get((rank, row["step"]), -1), row["value"]) for row in rows if row["value"]]
    return [(at, place) for at, place in found if at >= 0]


def _recorded(trace: Trace, position: int, row: TensorRow) -> TensorRow:
    """The row of the same tensor that the step has, or one below it."""
    bounds = trace.bounds("tensors")
    first, last = int(bounds[position]), int(bounds[int(trace.ends[position])])
    same = np.flatnonzero(trace.column("tensor", "tensors")[first:last] == row.tensor)
    for at in same.tolist():
        owner = int(trace.tensor_positions[first + at])
        for other in trace.tensors_of(owner):
            if other.tensor == row.tensor and other.shape == row.shape and other.role != schema.GRADIENT:
                return other
    return row


class _Index:
    """The rows of all ranks, by rank and step; a file that is not there or damaged has none."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._tables: dict[int, tuple[np.ndarray, Stream] | None] = {}

    def rows(self, rank: int, step: int, equation: str) -> list[TensorRow]:
        """The rows of an equation on a step, whose names are symbols."""
        table = self.table(rank)
        if table is None:
            return []
        rows = table[1].take(np.flatnonzero(table[0] == step), schema.SEEN_TENSORS.names)
        found = [row for row in rows.to_pylist() if row.pop("equation") == equation]
        return [TensorRow(**{**row, "shape": tuple(row["shape"] or ())}, role=schema.SEEN) for row in found]

    def table(self, rank: int) -> tuple[np.ndarray, Stream] | None:
        """The steps of a rank's rows, and the rows."""
        if rank not in self._tables:
            self._tables[rank] = self._open(rank)
        return self._tables[rank]

    def _open(self, rank: int) -> tuple[np.ndarray, Stream] | None:
        folder = rank_folder(self._trace.path, rank)
        if not (folder / FILE).is_file():
            return None
        try:
            stream = Stream(folder, FILE.removesuffix(".arrow"), schema.SEEN_TENSORS)
            return numpy_of(stream.columns(["step"])["step"]), stream
        except (TraceError, pa.ArrowException):
            return None
