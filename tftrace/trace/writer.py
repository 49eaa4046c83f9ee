"""Writes a trace folder while the model runs.

Rows gather in memory and are written in Arrow batches. Whatever has been flushed can be read at any moment, even after
the process was killed."""

from __future__ import annotations

import errno
import hashlib
import io
import linecache
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from . import schema
from .arrays import column_of
from .disk.folder import META, add_in_place, json_bytes, json_text, lock, rank_folder, write_bytes
from .disk.write_errors import why

_BATCH_ROWS = 8192
_ROOM = 1024  # bytes left free in meta.json for a last message, in case the disk fills up
_SAID = 160  # characters of that message; each may take six bytes
_PLAIN = 1 << 17  # bytes at the beginning of a file that are not compressed: in a short recording that takes too long
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)  # names repeat: a tenth of the size
_CONTENTS: dict[str, tuple[list[str], bytes]] = {}  # of source files, with the lines that Python holds of them
_EQUATIONS: dict[int, tuple[Any, str]] = {}  # by their ids: equations of meta.json, and their JSON
_MOST_CONTENTS, _MOST_EQUATIONS = 64, 1024
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream


class TableFile:
    """An Arrow stream in a file. Even on a full disk, a batch is written as a whole or not at all.

    Args:
        path: The file, which is made anew.
        table: Its columns.
        compress: Whether batches are compressed, which takes its time and gains nothing for numbers without a pattern.
    """

    def __init__(self, path: Path, table: pa.Schema, compress: bool = True) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        self._file: int | None = file
        self._table, self._compress, self._size = table, compress, 0
        self._stream: tuple[io.BytesIO, pa.RecordBatchStreamWriter] | None = None
        lock(file)
        try:
            self._send(file, _head(table))
        except BaseException:
            self.abandon()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch, and hand it to the operating system.

        Raises:
            OSError: There is no room for it; the file is as it was.
        """
        if self._file is None:
            raise ValueError("the table was closed before its last batch")
        plain = not self._compress or self._size + batch.nbytes < _PLAIN
        self._send(self._file, batch.serialize() if plain else self._compressed(batch))

    def _compressed(self, batch: pa.RecordBatch) -> bytes:
        if self._stream is None:
            waiting = io.BytesIO()
            stream = pa.ipc.new_stream(waiting, self._table, options=_OPTIONS)
            stream.write_batch(_empty(self._table))  # and the schema, which the file has already
            self._stream = waiting, stream
        waiting, stream = self._stream
        waiting.seek(0)
        waiting.truncate()
        stream.write_batch(batch)
        return waiting.getvalue()

    def close(self) -> None:
        """End the stream; ending it again does nothing."""
        if self._file is None:
            return
        try:
            self._send(self._file, _END)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is, without an end of the stream."""
        file, self._file = self._file, None  # before it is closed: its number may be another file's by then
        if file is not None:
            os.close(file)

    def _send(self, file: int, message: bytes | pa.Buffer) -> None:
        content = memoryview(message)
        sent = 0
        try:
            while sent < len(content):
                sent += os.write(file, content[sent:])
        except BaseException:  # an interrupt too: half a batch would make what comes after it unreadable
            os.ftruncate(file, self._size)
            os.lseek(file, self._size, os.SEEK_SET)
            raise
        self._size += sent


@cache
def _head(table: pa.Schema) -> bytes:
    """How a file begins: with the schema, and a batch without rows, which make it readable from now on."""
    return bytes(table.serialize()) + bytes(_empty(table).serialize())


def _empty(table: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([column_of((), kind) for kind in table.types], schema=table)


class LateTable:
    """A table of a rank that not every trace has: its file is made with the first rows.

    Args:
        path: The file.
        table: Its columns.
        compress: As for `TableFile`.
    """

    def __init__(self, path: Path, table: pa.Schema, compress: bool = True) -> None:
        self._path, self._schema, self._compress = path, table, compress
        self._table: TableFile | None = None

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows, whose values are in the order of the columns, and hand them to the operating system."""
        columns = list(zip(*rows, strict=True))
        if columns:
            self.append(columns)

    def append(self, columns: Sequence[Sequence[object]]) -> None:
        """Do what `write` does with the columns of some rows."""
        if columns[0]:
            self._table = self._table or TableFile(self._path, self._schema, self._compress)
            arrays = [column_of(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
            self._table.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """End the stream."""
        if self._table is not None:
            self._table.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._table is not None:
            self._table.abandon()


class TraceWriter:
    """Writes the tables of one rank, the trace's meta.json and its source copies; rows are only ever appended.

    Args:
        folder: The folder of the trace, which exists.
        meta: What to write into meta.json beside what every trace has.
        rank: The number of this process in a distributed run.
        shared: Whether other processes write to this folder; each then describes its rank in its own meta.json.
        described: What meta.json holds already, if that is `first_meta`.

    Raises:
        OSError: The files cannot be written.
    """

    def __init__(
        self, folder: Path, meta: dict[str, Any], rank: int = 0, *, shared: bool = False, described: bytes = b""
    ) -> None:
        self.folder = folder
        self.meta = _first(meta)
        self.rank_folder, self._shared = rank_folder(folder, rank), shared
        self.rank_folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in schema.TABLES}
        self._kept: set[str | None] = {None}  # source files that keep_source has seen
        self._copies: dict[str, bytes] = {}  # source copies that are not written yet, by name
        self._described = 0  # how many sources and equations meta.json had when it was last written
        self._meta_written = described  # the bytes of meta.json as it is
        self._place = self.rank_folder.stat()
        self._tables: dict[str, TableFile] = {}
        try:
            self.write_meta()
            for name, table in schema.TABLES.items():
                self._tables[name] = TableFile(self.rank_folder / f"{name}.arrow", table)
        except BaseException:
            self.abandon()
            raise

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Queue a row, whose values are in the order of the schema."""
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= _BATCH_ROWS:
            self.flush(table)

    def flush(self, *tables: str) -> None:
        """Write the queued rows of these tables (by default all), and hand them to the operating system."""
        if not tables:
            self.describe()
        for name in tables or tuple(schema.TABLES):
            rows, kinds = self._rows[name], schema.TABLES[name].types
            if rows:
                self.write(name, [column_of(c, kind) for c, kind in zip(zip(*rows, strict=True), kinds, strict=True)])
                self._rows[name] = []  # after an interrupt they wait on

    def describe(self) -> None:
        """Write the equations and source copies that later rows may name, so that no kill leaves rows without them.

        meta.json is written before the sources that it lists: no file of the trace is then taken for a stranger's.
        """
        if self._described != len(self.meta["sources"]) + len(self.meta["equations"]):
            self.write_meta()
        while self._copies:
            name, content = self._copies.popitem()
            write_bytes(self.folder / "sources" / name, content)

    def take(self, table: str) -> list[tuple[Any, ...]]:
        """Remove the queued rows of a table from the queue, and return them."""
        rows, self._rows[table] = self._rows[table], []
        return rows

    def write(self, table: str, columns: list[pa.Array]) -> None:
        """Write a batch with the columns of the schema, and hand it to the operating system."""
        found = schema.TABLES.get(table) or schema.MORE_TABLES[table]
        if table not in self._tables:
            self._tables[table] = TableFile(self.rank_folder / f"{table}.arrow", found)
        self._tables[table].write(pa.RecordBatch.from_arrays(columns, schema=found))

    def keep_source(self, file: str | None) -> None:
        """Queue a copy of a source file, or of a notebook cell, as it is now; each file is copied once."""
        if file in self._kept:
            return
        self._kept.add(file)
        if file is None or not (lines := linecache.getlines(file)):
            return
        content = _encoded(file, lines)
        taken = set(self.meta["sources"].values())
        stem = re.sub(r"\W+", "_", Path(file).stem).strip("_")[:80] or "source"
        if self._shared:  # so that processes agree on the name without talking to each other
            stem += f"-{hashlib.sha256(content).hexdigest()[:16]}"
        name = next(n for n in (f"{stem}{k or ''}.py" for k in range(len(taken) + 1)) if n not in taken)
        self.meta["sources"][file] = name
        self._copies[name] = content

    @property
    def there(self) -> bool:
        """Whether the trace is still in its place; it may have been moved, deleted or replaced by another."""
        try:
            return os.path.samestat(self.rank_folder.stat(), self._place)
        except OSError:
            return False

    def check_there(self) -> None:
        """Raise FileNotFoundError if the trace is no longer in its place."""
        if not self.there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))

    def write_meta(self, room: int = _ROOM) -> None:
        """Write meta.json in one move, with some bytes of `room` at its end."""
        self.check_there()
        content = json_bytes(self.meta, room, {"equations": self._equations()})
        if content != self._meta_written:
            write_bytes(self._meta_file, content)
            self._meta_written = content
        self._described = len(self.meta["sources"]) + len(self.meta["equations"])

    def _equations(self) -> str:
        """The equations as JSON: each is put into words once, as most recordings of a process check the same ones."""
        found = []
        for name, equation in self.meta["equations"].items():
            known = _EQUATIONS.get(id(equation))
            if known is None or known[0] is not equation:
                if len(_EQUATIONS) >= _MOST_EQUATIONS:
                    _EQUATIONS.clear()
                known = _EQUATIONS[id(equation)] = equation, json_text(equation)
            found.append(f"{json_text(name)}: {known[1]}")
        return f"{{{', '.join(found)}}}"

    @property
    def _meta_file(self) -> Path:
        return (self.rank_folder if self._shared else self.folder) / META

    def fail(self, failure: str) -> None:
        """Write into meta.json what ended the recording, even if the disk is full."""
        self.meta["failure"] = failure = self.meta.get("failure", failure)
        self.meta["complete"] = False
        try:
            self.write_meta()
        except OSError:
            with suppress(OSError, ValueError):
                self._meta_written = b""
                self.check_there()
                add_in_place(self._meta_file, "failure", failure[:_SAID])

    def abandon(self) -> None:
        """Close the files as they are."""
        for table in self._tables.values():
            table.abandon()

    def close(self, complete: bool = True) -> None:
        """Flush everything, end the streams, and mark the trace as complete.

        Raises:
            OSError: Something could not be written; meta.json then says so, if possible.
        """
        try:
            with ExitStack() as ending:
                for table in self._tables.values():
                    ending.callback(table.close)
                self.flush()
            self.meta["complete"] = complete
            self.write_meta(room=0)
        except OSError as error:
            self.fail(why(error))
            raise


def first_meta(meta: dict[str, Any]) -> bytes:
    """What meta.json holds as a recording begins, for a folder that is made with it."""
    return json_bytes(_first(meta), _ROOM)


def _first(meta: dict[str, Any]) -> dict[str, Any]:
    return {"schema": schema.SCHEMA_VERSION, "complete": False, "sources": {}, "equations": {}} | meta


def _encoded(file: str, lines: list[str]) -> bytes:
    """The content of a source file, which most recordings of a process keep again."""
    known = _CONTENTS.get(file)
    if known is not None and known[0] is lines:
        return known[1]
    if len(_CONTENTS) >= _MOST_CONTENTS:
        _CONTENTS.clear()
    content = "".join(lines).encode("utf-8", "replace")
    _CONTENTS[file] = lines, content
    return content
