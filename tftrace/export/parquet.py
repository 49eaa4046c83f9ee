"""Parquet: the rows of the CSV export with their types, in a folder with one partition per rank.

DuckDB, Polars, Spark and Ray Data read such folders. Standard output gets one file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..trace.trace import Trace
from .table import EDITED, SCHEMA, batches, schema_of

_KEPT = SCHEMA.remove(SCHEMA.get_field_index("rank"))  # which is the name of the folder
_OURS = re.compile(r"rank=-?\d+(/part-\d+\.parquet)?")  # all that a folder holds which an export wrote


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write one file with all ranks; the stream need not be seekable."""
    _write(stream, schema_of(trace), batches(trace))


def write_folder(trace: Trace, path: Path) -> None:
    """Write `rank=N/part-M.parquet` for each rank; the rank is in the folder name, not a column of the files."""
    ranks, columns = trace.column("rank"), schema_of(trace)
    kept = columns.remove(columns.get_field_index("rank"))
    edges = [0, *(np.flatnonzero(np.diff(ranks)) + 1).tolist(), len(ranks)]
    for number, (start, stop) in enumerate(pairwise(edges)):
        folder = path / f"rank={int(ranks[start]) if len(ranks) else 0}"
        folder.mkdir(exist_ok=True)
        with open(folder / f"part-{number}.parquet", "xb") as stream:
            _write(stream, kept, batches(trace, start, stop))


def wrote(folder: Path) -> bool:
    """Whether `write_folder` wrote all that is in a folder: no link, and no file of other columns."""
    for found in folder.rglob("*"):
        name = found.relative_to(folder).as_posix()
        part = _OURS.fullmatch(name)
        if part is None or found.is_symlink() or found.is_dir() != (part[1] is None):
            return False
        if part[1] is not None and not _is_part(found):
            return False
    return True


def _is_part(file: Path) -> bool:
    try:
        return file.is_file() and pq.read_schema(file).names in (_KEPT.names, [*_KEPT.names, EDITED])
    except (pa.ArrowException, OSError):
        return False


def _write(stream: BinaryIO, kept: pa.Schema, parts: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(stream, kept, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part.select(kept.names))
