"""Converts arrays between Arrow, NumPy and Python through their buffers.

pyarrow's own conversions import pandas first, which takes 0.2 seconds, and `take` all of pyarrow.compute."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

try:
    from . import _columns as compiled
except ImportError:  # installed where there is no compiler
    compiled = None  # type: ignore[assignment]

_CODES = {pa.int64(): "q", pa.int32(): "i", pa.int8(): "b", pa.float64(): "d"}  # of Python's module array
_NOTHING: dict[pa.DataType, Any] = dict.fromkeys(_CODES, 0) | {pa.string(): "", pa.binary(): b""}
_TEXTS, _LISTS = (pa.string(), pa.binary()), (pa.list_(pa.int64()),)
_MANY = 1024  # rows from which on it is worth to import pyarrow.compute
_LONGEST = (1 << 31) - 1  # bytes of all texts of a column


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


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Convert values that a model made to an Arrow array; of a text that UTF-8 cannot hold, what it can.

    Args:
        values: Numbers, texts, bytes or lists of numbers; None for a null.
        kind: Their type.
    """
    found = _compiled(values, kind)
    if found is not None:
        return found
    nothing = _NOTHING.get(kind, ())
    missing = None in values if kind in _NOTHING else any(value is None for value in values)
    known = np.fromiter((value is not None for value in values), np.bool_, len(values)) if missing else None
    filled = [nothing if value is None else value for value in values] if missing else values
    try:
        return pa.Array.from_buffers(kind, len(values), *_buffers(filled, kind, known))
    except (TypeError, OverflowError):  # of another type, or too many: pyarrow says what is wrong
        return pa.array(values, kind)


def repeated(values: Sequence[Any], kind: pa.DataType, at: np.ndarray) -> pa.Array:
    """Convert the values at some positions of a sequence to an Arrow array, as `column_of` does."""
    found = _compiled(values, kind, at)
    if found is not None:
        return found
    if len(at) > _MANY:
        return column_of(values, kind).take(indices(at))
    if kind in _CODES and None not in values:
        return _of_numbers(np.array(array(_CODES[kind], values))[at], kind)
    return column_of([*map(values.__getitem__, at.tolist())], kind)


def distinct(objects: list[Any]) -> tuple[list[Any], np.ndarray]:
    """The distinct objects in order of first appearance, and for each object its position among them, int64."""
    if compiled is not None:
        found, positions = compiled.distinct(objects)
        return found, np.frombuffer(positions, np.int64)
    ids = [*map(id, objects)]
    by_id = dict(zip(ids, objects, strict=True))
    position = dict(zip(by_id, range(len(by_id)), strict=True))
    return [*by_id.values()], np.fromiter(map(position.__getitem__, ids), np.int64, len(ids))


def floats_of(tuples: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """All numbers of some tuples as float64, one after the other; NaN stands for None."""
    found = compiled.floats(tuples) if compiled is not None else None
    if found is not None:
        return np.frombuffer(found)
    try:
        return np.fromiter(chain.from_iterable(tuples), np.float64)
    except TypeError:  # some have none
        return np.array([np.nan if x is None else x for numbers in tuples for x in numbers], np.float64)


def statistics_of(numbers: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Convert floats to an Arrow array of numbers of a type; NaN stands for a null."""
    missing = np.isnan(numbers)
    known = ~missing if missing.any() else None
    return _of_numbers(np.where(missing, 0.0, numbers) if known is not None else numbers, kind, known)


def indices(numbers: np.ndarray) -> pa.Array:
    """Convert row positions to an Arrow array, as `take` needs them."""
    return _of_numbers(numbers, pa.int64())


def _compiled(values: Sequence[Any], kind: pa.DataType, at: np.ndarray | None = None) -> pa.Array | None:
    """The array of the values, or of those at some positions; None if Python has to make it."""
    if compiled is None or not isinstance(values, (list, tuple)):
        return None
    count = len(values) if at is None else len(at)
    if kind in _CODES:
        number = compiled.numbers(values, at, _CODES[kind])
        return number and pa.Array.from_buffers(kind, count, [*map(_buffer, (number[1], number[0]))])
    make = compiled.texts if kind in _TEXTS else compiled.lists if kind in _LISTS else None
    found = make and make(values, at)
    if not found:
        return None
    (ends, content), known = found
    if kind in _TEXTS:
        return pa.Array.from_buffers(kind, count, [*map(_buffer, (known, ends, content))])
    elements = pa.Array.from_buffers(kind.value_type, len(content) // 8, [None, pa.py_buffer(content)])
    return pa.Array.from_buffers(kind, count, [*map(_buffer, (known, ends))], children=[elements])


def _buffer(content: bytes | None) -> Any:
    return None if content is None else pa.py_buffer(content)


def _of_numbers(numbers: np.ndarray, kind: pa.DataType, known: np.ndarray | None = None) -> pa.Array:
    whole = np.ascontiguousarray(numbers, _CODES[kind])
    return pa.Array.from_buffers(kind, len(whole), [_bits(known), pa.py_buffer(whole)])


def _buffers(values: Sequence[Any], kind: pa.DataType, known: np.ndarray | None) -> tuple[Any, ...]:
    """The buffers of an array, -1 nulls that Arrow has to count, its offset 0, and the elements of lists."""
    code = _CODES.get(kind)
    if code is not None:
        return [_bits(known), pa.py_buffer(array(code, values))], -1, 0, []
    lengths, content = _joined(values) if not pa.types.is_list(kind) else ([*map(len, values)], None)
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    if ends[-1] > _LONGEST:
        raise OverflowError
    buffers = [_bits(known), pa.py_buffer(ends.astype(np.int32))]
    if content is None:
        return buffers, -1, 0, [column_of([*chain.from_iterable(values)], kind.value_type)]
    return [*buffers, pa.py_buffer(content)], -1, 0, []


def _joined(values: Sequence[Any]) -> tuple[list[int], bytes]:
    """The length of each text in bytes, and all of them one after the other."""
    if values and isinstance(values[0], bytes):
        return [*map(len, values)], b"".join(values)
    text = "".join(values)
    if text.isascii():
        return [*map(len, values)], text.encode()
    try:
        parts = [value.encode() for value in values]
    except UnicodeEncodeError:  # half of a pair of surrogates, as names of damaged files have
        parts = [value.encode("utf-8", "replace") for value in values]
    return [*map(len, parts)], b"".join(parts)


def _bits(known: np.ndarray | None) -> Any:
    return None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))


def _numbers(chunk: pa.Array, kind: np.dtype, missing: int | None) -> np.ndarray:
    valid, data = chunk.buffers()
    numbers = np.frombuffer(data, kind, len(chunk), chunk.offset * kind.itemsize)
    if not chunk.null_count:
        return numbers
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
    known = bits[chunk.offset : chunk.offset + len(chunk)].astype(bool)
    return np.where(known, numbers.astype(np.float64), np.nan) if missing is None else np.where(known, numbers, missing)
