"""Writes a trace folder while the model runs: rows gather in memory and go out as Arrow batches,
so that whatever was flushed can be read at any moment, also after the process was killed."""

from __future__ import annotations

import hashlib
import io
import linecache
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from . import schema
from .folder import META, lock, rank_folder, write_bytes, write_json

_BATCH_ROWS = 8192
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")  # paths and names repeat: a tenth of the size


class TableFile:
    """An Arrow stream in a file. A batch is in it whole or not at all, also where the disk is full."""

    def __init__(self, path: Path, table: pa.Schema) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        self._table, self._waiting, self._size = table, io.BytesIO(), 0
        lock(self._file)
        self._stream = pa.ipc.new_stream(self._waiting, table, options=_OPTIONS)
        # The schema goes out with the first batch: an empty one makes the file readable from now on.
        self.write(pa.RecordBatch.from_pylist([], schema=table))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch and hand it to the system."""
        self._stream.write_batch(batch)
        self._send()

    def close(self) -> None:
        """End the stream."""
        try:
            self._stream.close()
            self._send()
        finally:
            os.close(self._file)

    def _send(self) -> None:
        content = memoryview(self._waiting.getvalue())
        self._waiting.seek(0)
        self._waiting.truncate()
        sent = 0
        try:
            while sent < len(content):
                sent += os.write(self._file, content[sent:])
        except OSError:
            os.ftruncate(self._file, self._size)  # half a batch would make what comes after it unreadable
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += sent


class TraceWriter:
    """Append-only writer of one rank's tables and of the trace's meta.json and source copies.

    If the folder is `shared` with other processes, each describes its rank in a meta.json of its own."""

    def __init__(self, folder: Path, meta: dict[str, Any], rank: int = 0, *, shared: bool = False) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = {
            "schema": schema.SCHEMA_VERSION,
            "complete": False,
            "sources": {},
            "equations": {},
        } | meta
        self.rank_folder, self._shared = rank_folder(folder, rank), shared
        self.rank_folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in schema.TABLES}
        self._kept: set[str | None] = {None}  # source files that were looked at
        self._described = 0  # entries of meta.json when it was last written
        self.write_meta()
        self._tables = {n: TableFile(self.rank_folder / f"{n}.arrow", t) for n, t in schema.TABLES.items()}

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Queue one row, its values in the order of the schema."""
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= _BATCH_ROWS:
            self.flush(table)

    def flush(self, *tables: str) -> None:
        """Write the queued rows of these tables (all, if none is named) and hand them to the system."""
        if not tables and self._described != len(self.meta["sources"]) + len(self.meta["equations"]):
            self.write_meta()  # so that rows which name them are not without them after a kill
        for name in tables or tuple(schema.TABLES):
            rows, self._rows[name] = self._rows[name], []
            if rows:
                kinds = schema.TABLES[name].types
                self.write(name, [pa.array(c, kind) for c, kind in zip(zip(*rows, strict=True), kinds, strict=True)])

    def take(self, table: str) -> list[tuple[Any, ...]]:
        """The queued rows of a table, which are no longer queued."""
        rows, self._rows[table] = self._rows[table], []
        return rows

    def write(self, table: str, columns: list[pa.Array]) -> None:
        """Write a batch, whose columns are those of the schema, and hand it to the system."""
        self._tables[table].write(pa.RecordBatch.from_arrays(columns, schema=schema.TABLES[table]))

    def keep_source(self, file: str | None) -> None:
        """Copy a source file into the trace once, as it is now (also a notebook cell's)."""
        if file in self._kept:
            return
        self._kept.add(file)
        if file is None or not (lines := linecache.getlines(file)):
            return
        content = "".join(lines).encode("utf-8", "replace")
        taken = set(self.meta["sources"].values())
        stem = re.sub(r"\W+", "_", Path(file).stem).strip("_")[:80] or "source"
        if self._shared:  # so that processes which do not ask each other agree on it
            stem += f"-{hashlib.sha256(content).hexdigest()[:16]}"
        name = next(n for n in (f"{stem}{k or ''}.py" for k in range(len(taken) + 1)) if n not in taken)
        self.meta["sources"][file] = name
        write_bytes(self.folder / "sources" / name, content)

    def write_meta(self) -> None:
        """Write meta.json in one move, so that a reader never sees half of it."""
        write_json((self.rank_folder if self._shared else self.folder) / META, self.meta)
        self._described = len(self.meta["sources"]) + len(self.meta["equations"])

    def close(self, complete: bool = True) -> None:
        """Flush everything, end the streams and mark the trace complete."""
        with ExitStack() as ending:
            for table in self._tables.values():
                ending.callback(table.close)
            self.flush()
        self.meta["complete"] = complete
        self.write_meta()
