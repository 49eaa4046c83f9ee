"""A safetensors file, maybe a stranger's, read without torch: what it says of a tensor is checked against the file's
size before memory is taken."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_ENTRY = ("dtype", "shape", "data_offsets")
_HEADER_LIMIT = 64 << 20  # bytes; the headers of our files have about a hundred per tensor
_WIDENED = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}  # NumPy lacks these: read as bits, returned as float32
_NAMES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "C64": "<c8",
} | _WIDENED


class Entry(NamedTuple):
    """A tensor in a file: its dtype as the file names it, its shape, and where its bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def kind(self) -> str:
        """Its dtype as torch and NumPy name it, such as `float32`."""
        return _NAMES.get(self.dtype) or np.dtype(_DTYPES[self.dtype]).name


def entries(file: Path) -> dict[str, Entry]:
    """What a file holds, by key. Raises ValueError, TypeError or OSError if it cannot be read as safetensors."""
    said = file.stat()
    return _entries(file, said.st_size, said.st_mtime_ns)


def read(file: Path, entry: Entry) -> np.ndarray:
    """The numbers of an entry; bfloat16 and eight-bit floats come as float32, which holds them exactly."""
    kind = np.dtype(_DTYPES[entry.dtype])
    if entry.begin == entry.end:
        return _widened(np.empty(entry.shape, kind), entry.dtype)
    found = np.fromfile(file, np.uint8, entry.end - entry.begin, offset=entry.begin)
    return _widened(found.view(kind).reshape(entry.shape), entry.dtype)


@lru_cache(maxsize=16)
def _entries(file: Path, size: int, time: int) -> dict[str, Entry]:
    """A file of a thousand tensors is read a thousand times: what it says is kept until it is another file."""
    header, start, size = _header(file)
    return {key: _entry(entry, start, size) for key, entry in header.items() if key != "__metadata__"}


def _header(file: Path) -> tuple[dict[str, Any], int, int]:
    """Read the header of a safetensors file: its entries, where the tensors' bytes begin, and the size of the file.

    Raises:
        ValueError: It is no such file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = 8 + int.from_bytes(stream.read(8), "little")
        if start > min(size, _HEADER_LIMIT):
            raise ValueError("the header is longer than the file, or than any of ours")
        header = json.loads(stream.read(start - 8))
    if not isinstance(header, dict):
        raise ValueError("the header describes nothing")
    return header, start, size


def _entry(entry: Any, start: int, size: int) -> Entry:
    """The entry of a tensor, checked to lie inside the file.

    Raises:
        ValueError: It does not, or it is no entry.
    """
    dtype, shape, offsets = (entry.get(key) if isinstance(entry, dict) else None for key in _ENTRY)
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError("the dtype is not one that is kept")
    if not isinstance(shape, list) or any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("the shape is none")
    if not isinstance(offsets, list) or [type(at) for at in offsets] != [int, int]:
        raise ValueError("the place in the file is none")
    begin, end = offsets
    if not 0 <= begin <= end <= size - start:
        raise ValueError("the tensor is not inside the file")
    if end - begin != math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize:
        raise ValueError("the tensor has another size than its shape")
    return Entry(dtype, tuple(shape), start + begin, start + end)


def _widened(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers of a dtype that NumPy lacks, converted to float32; others unchanged."""
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    return _E4M3[bits] if dtype == "F8_E4M3" else bits


def _e4m3() -> np.ndarray:
    """The numbers that the 256 codes of float8_e4m3fn stand for; it has no infinity, and a NaN of each sign."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    size = np.where(exponent == 0, fraction / 512, (8 + fraction) * 2.0 ** (exponent - 10))
    size[codes & 127 == 127] = np.nan
    return np.where(codes < 128, size, -size).astype(np.float32)


_E4M3 = _e4m3()
