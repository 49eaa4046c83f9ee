"""The numbers and words that checks used besides tensors: a scale, an epsilon, whether later keys are hidden.

A step's tensors do not hold them, so they have a stream of their own, `rank-*/numbers.arrow`. A row is written only if
a number differs from that of the previous call of the same name, so a run of many tokens has few rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import TraceError
from .arrays import column_of
from .disk.folder import rank_folder
from .schema import NUMBERS
from .stream import Stream
from .trace import Trace
from .writer import TableFile

FILE = "numbers.arrow"
Values = Mapping[str, float | str]


class NumbersWriter:
    """Remembers the numbers of each call, and writes those that changed."""

    def __init__(self, rank_folder: Path) -> None:
        self._path = rank_folder / FILE
        self._known: dict[tuple[str, str], Values] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._table: TableFile | None = None

    def note(self, step: int, name: str, equation: str, values: Values) -> None:
        """Note what the symbols of an equation stand for on a step of this name."""
        known = self._known.get((name, equation))
        if known is values or known == values:
            return
        self._known[(name, equation)] = values
        for symbol, value in values.items():
            worded = isinstance(value, str)
            self._rows.append((step, name, equation, symbol, None if worded else value, value if worded else None))

    def parts(self) -> dict[str, Any]:
        """What compiled code looks up before it calls `note`."""
        return {"numbers": self, "noted": self._known}

    def flush(self) -> None:
        """Write the rows that have not been written yet."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        self._table = self._table or TableFile(self._path, NUMBERS)
        columns = [column_of(c, kind) for c, kind in zip(zip(*rows, strict=True), NUMBERS.types, strict=True)]
        self._table.write(pa.RecordBatch.from_arrays(columns, schema=NUMBERS))

    def close(self) -> None:
        """Write the rest and end the stream."""
        try:
            self.flush()
        finally:
            if self._table is not None:
                self._table.close()


def numbers(trace: Trace, position: int, equation: str) -> dict[str, float | str]:
    """The numbers and words that the symbols of an equation stood for on a step, by symbol.

    It is empty if the trace does not tell."""
    step, rank, name = (trace.column(column)[position] for column in ("step", "rank", "name"))
    folder = rank_folder(trace.path, int(rank))
    if not (folder / FILE).is_file():
        return {}
    try:
        stream = Stream(folder, FILE.removesuffix(".arrow"), NUMBERS)
        names, words = stream.codes("name")
        equations, ids = stream.codes("equation")
    except TraceError:
        return {}
    if name not in words or equation not in ids:
        return {}
    steps = stream.columns(["step"])["step"].to_numpy()
    fitting = (names == words.index(name)) & (equations == ids.index(equation)) & (steps <= step)
    if not fitting.any():
        return {}
    rows = (fitting & (steps == steps[fitting].max())).nonzero()[0]
    found = stream.take(rows, ["symbol", "value", "text"]).to_pylist()
    return {r["symbol"]: r["text"] if r["value"] is None else r["value"] for r in found if r["symbol"] is not None}
