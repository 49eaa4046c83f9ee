"""One table of one rank: an Arrow stream in a file that is mapped into memory and decoded only where it is needed."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from . import schema
from .arrays import indices, numpy_of
from .disk.safe_files import regular
from .ipc import Batch, scan, start

_NEVER_NULL = ("step", "depth", "rank")  # without these there is no tree; other columns may have nulls
_KEPT = 16  # batches that stay decoded, since neighbours are usually read together


class Stream:
    """The rows of a file, in the order in which they were written.

    Args:
        folder: The folder of the rank.
        name: The name of the table.
        table: The columns that the file must have.
        most: If given, only the batches with the first `most` rows are read.

    Attributes:
        lost: How many bytes at the end of the file are not a whole batch.
        whole: Whether all rows are read, in spite of `most`.

    Raises:
        TraceError: The file cannot be read as such a table.
    """

    def __init__(self, folder: Path, name: str, table: pa.Schema, most: int | None = None) -> None:
        self._table, self.file, self._nulls = table, f"{name}.arrow", schema.NULLS.get(name, {})
        self._what = str(folder / self.file)
        self._batches: list[Batch] = []
        self.lost = 0
        self.whole = True
        self._kept: OrderedDict[tuple[int, tuple[str, ...]], pa.RecordBatch] = OrderedDict()
        try:
            file = regular(folder, self.file)
            if file.stat().st_size == 0:  # killed before its first row
                return
            with pa.memory_map(os.fsencode(file)) as source:
                self._data = source.read_buffer()
            begin = start(memoryview(self._data))
            if begin is None:
                self.lost = len(self._data)
                return
            with pa.ipc.open_stream(self._data.slice(0, begin)) as reader:
                if not reader.schema.equals(table):
                    raise TraceError(f"{file} does not have the columns of a trace: record the trace again.")
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged() from error
        self._start = begin
        self._batches, end = scan(memoryview(self._data), self._start, self._what)
        self.lost = len(self._data) - end
        rows = [batch.row for batch in self._batches]
        kept = len(rows) if most is None else bisect_left(rows, most)
        self.whole, self._batches = kept == len(rows), self._batches[:kept]
        self._firsts = np.array([batch.row for batch in self._batches])

    def __len__(self) -> int:
        return self._batches[-1].row + self._batches[-1].rows if self._batches else 0

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Whole columns."""
        return pa.Table.from_batches(list(self._decoded(0, len(self._batches), names)), self._part(names))

    def codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A text column as codes into its distinct texts (-1 for null), and these texts."""
        found: dict[str, int] = {}
        codes = np.empty(len(self), np.int32)
        for batch, decoded in zip(self._batches, self._decoded(0, len(self._batches), [name]), strict=True):
            column = decoded.column(0).dictionary_encode()
            own = [found.setdefault(word, len(found)) for word in column.dictionary.to_pylist()]
            index = numpy_of(column.indices, missing=len(own))
            codes[batch.row : batch.row + batch.rows] = np.array([*own, -1], np.int32)[index]
        return codes, list(found)

    def take(self, rows: np.ndarray, names: Sequence[str]) -> pa.Table:
        """Some rows of some columns; only the batches that hold them are decoded."""
        key = tuple(names)
        where = np.searchsorted(self._firsts, rows, side="right") - 1 if len(rows) else rows
        needed = np.unique(where).tolist()
        found = {at: self._kept.pop((at, key), None) for at in needed}
        for first, end in _runs([at for at in needed if found[at] is None]):
            found.update(enumerate(self._decoded(first, end, names), first))
        self._kept.update({(at, key): batch for at, batch in found.items()})
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        sizes = [self._batches[at].rows for at in needed]
        shift = np.cumsum([0, *sizes])[:-1] - self._firsts[needed] if needed else rows
        index = rows + shift[np.searchsorted(needed, where)]
        return pa.Table.from_batches([found[at] for at in needed], self._part(names)).take(indices(index))

    def _part(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([self._table.field(name) for name in names])

    def _decoded(self, first: int, end: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Decode some columns of consecutive batches, and validate each batch."""
        if first >= end:
            return
        begin, stop = self._batches[first].offset, self._batches[end - 1].end
        data = self._data.slice(0, stop)
        if first:
            data = pa.py_buffer(b"".join((self._data.slice(0, self._start), self._data.slice(begin, stop - begin))))
        fields = sorted(self._table.get_field_index(name) for name in names)
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        try:
            with pa.ipc.open_stream(pa.BufferReader(data), options=options) as reader:
                for at in range(first, end):
                    batch = reader.read_next_batch()
                    batch.validate(full=True)  # the file may be a stranger's
                    nulls = any(batch.column(name).null_count for name in names if self._needed(name))
                    if nulls or batch.num_rows != self._batches[at].rows:
                        raise pa.ArrowInvalid("a value is missing")
                    yield self._filled(batch.select(list(names)), self._batches[at].row)
        except (StopIteration, pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
            raise self._damaged() from error

    def _needed(self, name: str) -> bool:
        return name in _NEVER_NULL or not self._table.field(name).nullable

    def _filled(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """The batch, which begins with the row `first`, without the nulls that stand for something."""
        for at, name in enumerate(batch.schema.names):
            column = batch.column(at)
            if column.null_count and name in self._nulls:
                filled = column.fill_null(self._nulls[name])
            elif column.null_count and name == "tensor":  # -1, -2, …: a number for each row
                own = range(-1 - first, -1 - first - len(column), -1)
                filled = pa.array(
                    [new if known is None else known for known, new in zip(column.to_pylist(), own, strict=True)]
                )
            else:
                continue
            batch = batch.set_column(at, batch.schema.field(at), filled)
        return batch

    def _damaged(self) -> TraceError:
        return TraceError(f"{self._what} cannot be read as part of a trace: check the folder, or record it again.")


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Split ascending numbers into runs without gaps: the first number of each, and one past its last."""
    at = 0
    while at < len(numbers):
        end = at + 1
        while end < len(numbers) and numbers[end] == numbers[end - 1] + 1:
            end += 1
        yield numbers[at], numbers[end - 1] + 1
        at = end
