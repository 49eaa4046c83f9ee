"""Parquet: the rows of the CSV with their types, in a folder with a partition a rank, as DuckDB, Polars, Spark and
Ray Data read it. Into a pipe it is one file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..trace import Trace
from .table import SCHEMA, batches


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write one file of all ranks; the stream need not be one that can be wound back."""
    _write(stream, SCHEMA, batches(trace))


def write_folder(trace: Trace, path: Path) -> None:
    """Write `rank=N/part-M.parquet` for each rank; the rank is the folder's, and no column of the file."""
    ranks = trace.column("rank")
    edges = [0, *(np.flatnonzero(np.diff(ranks)) + 1).tolist(), len(ranks)]
    kept = SCHEMA.remove(SCHEMA.get_field_index("rank"))
    for number, (start, stop) in enumerate(pairwise(edges)):
        folder = path / f"rank={int(ranks[start]) if len(ranks) else 0}"
        folder.mkdir(exist_ok=True)
        with open(folder / f"part-{number}.parquet", "xb") as stream:
            _write(stream, kept, batches(trace, start, stop))


def _write(stream: BinaryIO, kept: pa.Schema, parts: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(stream, kept, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part.select(kept.names))
