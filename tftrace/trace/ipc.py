"""Checks the messages of an Arrow stream against the size of their file, before Arrow itself reads them.

Arrow allocates as much memory as a message claims to need. Since a trace may be a stranger's, or cut off by a kill, the
claims of each record batch (its rows, where its buffers lie, how large they are once decompressed) are checked first.
The format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ..errors import TraceError

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _RECORD_BATCH = 1, 3  # the kinds of messages
_ROWS_LIMIT = 1 << 20  # rows of a batch; ours have a few thousand
_BATCH_LIMIT = 256 << 20  # bytes of a batch, decompressed
_RATIO_LIMIT, _FREE = 300, 256 << 20  # all batches, decompressed: at most 300 times the file, and 256 MiB
_METADATA_LIMIT = 1 << 20


class Batch(NamedTuple):
    """A record batch: the bytes where it begins and ends in its file, its first row there, and how many rows it has."""

    offset: int
    end: int
    row: int
    rows: int


class _Damaged(Exception):
    """The bytes at a place of the file are not a message."""


class _Cut(_Damaged):
    """The message would go on after the end of the file."""


def start(data: memoryview) -> int | None:
    """Find where the batches of a stream begin: after its schema.

    Returns:
        The offset in bytes, or None if the file is cut off before.

    Raises:
        ValueError: The file does not begin with a schema. (Arrow itself crashes on some messages in its place.)
    """
    try:
        head = _head(data, 0)
        if head is None or head[0].number(1, "<B") != _SCHEMA:
            raise _Damaged
    except _Cut:
        return None
    except (_Damaged, struct.error) as problem:
        raise ValueError("no schema") from problem
    return head[1]


def scan(data: memoryview, start: int, file: str) -> tuple[list[Batch], int]:
    """Find the whole record batches of a stream.

    Args:
        data: The file.
        start: Where its batches begin, in bytes.
        file: The name of the file, for messages.

    Returns:
        The batches, and the offset where they end: with the stream, or before a message that is cut off or damaged.

    Raises:
        TraceError: The batches claim more memory than a file of this size can need.
    """
    batches: list[Batch] = []
    at, row, total = start, 0, 0
    while True:
        try:
            found = _message(data, at)
        except (_Damaged, struct.error, ValueError, IndexError, OverflowError):
            return batches, at
        if found is None:
            return batches, min(at + 8, len(data))
        end, rows, size = found
        total += size
        if rows > _ROWS_LIMIT or size > _BATCH_LIMIT or total > _RATIO_LIMIT * len(data) + _FREE:
            raise TraceError(f"{file} asks for more memory than a trace of its size can need: it is not opened.")
        batches.append(Batch(at, end, row, rows))
        at, row = end, row + rows


def _message(data: memoryview, at: int) -> tuple[int, int, int] | None:
    """The end, the rows and the decompressed bytes of the record batch at `at`; None at the end of the stream."""
    head = _head(data, at)
    if head is None:
        return None
    table, body = head
    if table.number(1, "<B") != _RECORD_BATCH:
        raise _Damaged
    length = table.number(3, "<q")
    if not 0 <= length <= len(data) - body or length % 8:
        raise _Damaged
    batch = table.table(2)
    rows = batch.number(0, "<q")
    nodes, buffers = batch.pairs(1), batch.pairs(2)
    if rows < 0 or (nodes < 0).any() or (nodes[:, 1] > nodes[:, 0]).any() or rows not in nodes[:1, 0]:
        raise _Damaged
    offsets, sizes = buffers[:, 0], buffers[:, 1]
    if (buffers < 0).any() or (offsets > length).any() or (sizes > length - offsets).any():
        raise _Damaged
    bytes_needed = int(sizes.sum())
    if batch.place(3) is not None:
        filled = offsets[sizes > 0]
        if (sizes[sizes > 0] < 8).any():
            raise _Damaged
        whole = np.frombuffer(data, np.uint8, length, body)[filled[:, None] + np.arange(8)].view("<i8")[:, 0]
        if (whole < -1).any():
            raise _Damaged
        bytes_needed += int(np.minimum(whole, _BATCH_LIMIT + 1)[whole > 0].sum())  # -1: it is not compressed
    return body + length, rows, bytes_needed


def _head(data: memoryview, at: int) -> tuple[_Table, int] | None:
    """The header of the message at `at`, and where its body begins; None at the end of the stream."""
    if len(data) < at + 8:
        raise _Cut
    continuation, size = struct.unpack_from("<II", data, at)
    if continuation != _CONTINUATION or size > _METADATA_LIMIT:
        raise _Damaged
    if len(data) < at + 8 + size:
        raise _Cut
    return (_Table(data[at + 8 : at + 8 + size]), at + 8 + size) if size else None


class _Table:
    """A table of a flatbuffer, whose vtable tells where its fields are."""

    def __init__(self, data: memoryview, at: int | None = None) -> None:
        self.data = data
        self._at = struct.unpack_from("<I", data)[0] if at is None else at
        self._vtable = self._at - struct.unpack_from("<i", data, self._at)[0]
        if not 0 <= self._vtable < data.nbytes:
            raise _Damaged
        self._size = struct.unpack_from("<H", data, self._vtable)[0]

    def place(self, field: int) -> int | None:
        """The offset of the value of a field; None if the field has its default."""
        slot = 4 + 2 * field
        if slot + 2 > self._size:
            return None
        (offset,) = struct.unpack_from("<H", self.data, self._vtable + slot)
        return self._at + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        at = self.place(field)
        return 0 if at is None else int(struct.unpack_from(kind, self.data, at)[0])

    def table(self, field: int) -> _Table:
        at = self.place(field)
        if at is None:
            raise _Damaged
        return _Table(self.data, at + struct.unpack_from("<I", self.data, at)[0])

    def pairs(self, field: int) -> np.ndarray:
        """A vector of pairs of int64, as an array of shape (n, 2)."""
        at = self.place(field)
        if at is None:
            return np.zeros((0, 2), np.int64)
        at += struct.unpack_from("<I", self.data, at)[0]
        (count,) = struct.unpack_from("<I", self.data, at)
        if count > self.data.nbytes // 16:
            raise _Damaged
        return np.frombuffer(self.data, "<i8", 2 * count, at + 4).reshape(-1, 2)
