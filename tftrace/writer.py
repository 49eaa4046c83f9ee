"""Writes a trace folder while the model runs: rows gather in memory and go out as Arrow batches,
so that whatever was flushed can be read at any moment, also after the process was killed."""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa

from . import schema
from .errors import TraceError

_BATCH_ROWS = 8192
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")  # paths and names repeat: a tenth of the size


def check_folder(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The folder of a new trace, if it can be one; an existing trace may be replaced only with `overwrite`."""
    folder = Path(path).expanduser()
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        if not overwrite:
            raise TraceError(
                f"{folder} exists already: choose another path, or replace it with --force (overwrite=True)."
            )
        if folder.is_symlink() or not (folder / "meta.json").is_file():
            raise TraceError(f"{folder} is not a trace, so it is not overwritten: choose another path.")
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise TraceError(f"The trace cannot be written to {folder}: choose a path in a folder of yours.")
    return folder


def create_folder(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Check and create the folder of a new trace, in the place of an old one if `overwrite`."""
    folder = check_folder(path, overwrite)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "sources").mkdir(parents=True)
    except OSError as error:
        raise TraceError(f"The trace cannot be written to {folder} ({error.strerror}): choose another path.") from error
    return folder


class TraceWriter:
    """Append-only writer of one rank's tables and of the trace's meta.json and source copies."""

    def __init__(self, folder: Path, meta: dict[str, Any], rank: int = 0) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = {
            "schema": schema.SCHEMA_VERSION,
            "complete": False,
            "sources": {},
            "equations": {},
        } | meta
        self._rank_folder = folder / f"rank-{rank:05d}"
        self._rank_folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in schema.TABLES}
        self._files = {}
        self._kept: set[str | None] = {None}  # source files that were looked at
        self._described = 0  # entries of meta.json when it was last written
        self._streams: dict[str, pa.RecordBatchStreamWriter] = {}
        for name, table in schema.TABLES.items():
            self._files[name] = open(self._rank_folder / f"{name}.arrow", "wb")  # noqa: SIM115 - closed in close()
            self._streams[name] = pa.ipc.new_stream(self._files[name], table, options=_OPTIONS)
            # The schema goes out with the first batch: an empty one makes the file readable from now on.
            self._streams[name].write_batch(pa.RecordBatch.from_pylist([], schema=table))
            self._files[name].flush()
        self.write_meta()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Queue one row, its values in the order of the schema."""
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= _BATCH_ROWS:
            self.flush(table)

    def flush(self, *tables: str) -> None:
        """Write the queued rows of these tables (all, if none is named) and hand them to the system."""
        for name in tables or tuple(schema.TABLES):
            rows, self._rows[name] = self._rows[name], []
            if rows:
                kinds = schema.TABLES[name].types
                self.write(name, [pa.array(c, kind) for c, kind in zip(zip(*rows, strict=True), kinds, strict=True)])
        if not tables and self._described != len(self.meta["sources"]) + len(self.meta["equations"]):
            self.write_meta()  # so that rows which name them are not without them after a kill

    def write(self, table: str, columns: list[pa.Array]) -> None:
        """Write a batch, whose columns are those of the schema, and hand it to the system."""
        self._streams[table].write_batch(pa.RecordBatch.from_arrays(columns, schema=schema.TABLES[table]))
        self._files[table].flush()

    def keep_source(self, file: str | None) -> None:
        """Copy a source file into the trace once, as it is now (also a notebook cell's)."""
        if file in self._kept:
            return
        self._kept.add(file)
        if file is None or not (lines := linecache.getlines(file)):
            return
        taken = set(self.meta["sources"].values())
        stem = re.sub(r"\W+", "_", Path(file).stem).strip("_") or "source"
        name = next(n for n in (f"{stem}{k or ''}.py" for k in range(len(taken) + 1)) if n not in taken)
        self.meta["sources"][file] = name
        (self.folder / "sources" / name).write_text("".join(lines), encoding="utf-8")

    def write_meta(self) -> None:
        """Write meta.json in one move, so that a reader never sees half of it."""
        part = self.folder / f".meta-{uuid.uuid4().hex}.json"
        part.write_text(json.dumps(self.meta, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
        os.replace(part, self.folder / "meta.json")
        self._described = len(self.meta["sources"]) + len(self.meta["equations"])

    def close(self, complete: bool = True) -> None:
        """Flush everything, end the streams and mark the trace complete."""
        try:
            self.flush()
            for stream in self._streams.values():
                stream.close()
            self.meta["complete"] = complete
            self.write_meta()
        finally:
            for file in self._files.values():
                with contextlib.suppress(OSError):
                    file.close()
