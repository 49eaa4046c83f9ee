"""Converts arrays between Arrow and NumPy through their buffers.

pyarrow's own conversions import pandas first, which takes 0.2 seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa


def numpy_of(column: pa.Array | pa.ChunkedArray, missing: int | None = None) -> np.ndarray:
    """Convert a column of numbers to NumPy.

    Args:
        column: Integers or floats.
        missing: The number to put in the place of a null. If it is None, integers with nulls become floats with NaN, as
            in pyarrow's `to_numpy`.
    """
    chunks: Iterable[pa.Array] = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    kind = np.dtype(str(column.type).replace("double", "float64"))
    parts = [_numbers(chunk, kind, missing) for chunk in chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, kind), *parts])


def column_of(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Convert values that a model made to an Arrow array; of a text that UTF-8 cannot hold, what it can."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # half of a pair of surrogates, as names of damaged files have
        clean = [one.encode("utf-8", "replace").decode() if isinstance(one, str) else one for one in values]
        return pa.array(clean, kind)


def indices(numbers: np.ndarray) -> pa.Array:
    """Convert row positions to an Arrow array, as `take` needs them."""
    whole = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def _numbers(chunk: pa.Array, kind: np.dtype, missing: int | None) -> np.ndarray:
    valid, data = chunk.buffers()
    numbers = np.frombuffer(data, kind, len(chunk), chunk.offset * kind.itemsize)
    if not chunk.null_count:
        return numbers
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
    known = bits[chunk.offset : chunk.offset + len(chunk)].astype(bool)
    return np.where(known, numbers.astype(np.float64), np.nan) if missing is None else np.where(known, numbers, missing)
