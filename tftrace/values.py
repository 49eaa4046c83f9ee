"""Tensors that a recording kept whole, read back without torch.

They lie in safetensors files of the trace. The trace may be a stranger's: where a value is said to be, and what its
file says of it, is checked against the file's size before memory is taken."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import schema
from .errors import TraceError

_ROLES = (
    schema.OUTPUT,
    schema.LOCAL,
    schema.INPUT,
    schema.PARAMETER,
    schema.GRADIENT,
)  # which of several is meant, if none is said
_PLACE = re.compile(r"(\d{5}-\d{5}\.safetensors)#(\d{1,19})", re.ASCII)
_HEADER_LIMIT = 64 << 20  # bytes; the header of a file of ours has a hundred a tensor
_WIDENED = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}  # numpy lacks these: read as bits, given as float32
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


def kept_row(rows: Sequence[Any], step: int, name: str, role: str | None) -> Any:
    """The row of the tensor that is meant, of those that a step saw; raises TraceError if it was not kept."""
    if role is not None and role not in _ROLES:
        raise TraceError(f"There is no role {role!r}: choose one of {', '.join(_ROLES)}.")
    found = [row for row in rows if row.name == name and row.role in ((role,) if role else _ROLES)]
    if not found:
        named = ", ".join(dict.fromkeys(f"{row.name!r} ({row.role})" for row in rows)) or "none at all"
        raise TraceError(f"Step {step} saw no tensor {name!r}{f' as {role}' if role else ''}: it saw {named}.")
    row = min(found, key=lambda one: _ROLES.index(one.role))
    if row.value is None:
        way = "values='all'" if row.role == schema.PARAMETER else "values='auto', or 'all' if that is too little"
        raise TraceError(f"The {row.role} {name!r} of step {step} was not kept: record with {way}.")
    return row


def read_value(folder: Path, place: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of this shape that the trace in `folder` keeps at `place` (`00000-00000.safetensors#7`).

    bfloat16 and eight-bit floats come as float32, which holds them exactly. Raises TraceError if nothing of the kind
    is there."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise TraceError(f"{folder} names {place[:60]!r} as the place of a value, which is none: record it again.")
    file = folder / "values" / found[1]
    try:
        if file.parent.is_symlink() or file.is_symlink():
            raise TraceError(f"{file} is a link, which a trace may not hold: copy the file itself.")
        if not file.is_file():
            raise TraceError(f"{file} is missing, which kept the value: check the folder, or record it again.")
        return _widened(*_read(file, found[2], shape))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as values: check the folder, or record it again.") from error


def _read(file: Path, key: str, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The numbers as they lie in the file, and their dtype there; raises ValueError for what is no such file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = 8 + int.from_bytes(stream.read(8), "little")
        if start > min(size, _HEADER_LIMIT):
            raise ValueError("the header is longer than the file, or than any of ours")
        header = json.loads(stream.read(start - 8))
    entry = header.get(key) if isinstance(header, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise ValueError("the tensor is not described")
    dtype, offsets = entry["dtype"], entry.get("data_offsets")
    if dtype not in _DTYPES:
        raise ValueError("the dtype is not one that is kept")
    kind = np.dtype(_DTYPES[dtype])
    if entry.get("shape") != list(shape) or not isinstance(offsets, list) or [type(at) for at in offsets] != [int, int]:
        raise ValueError("the shape is another, or the place in the file none")
    begin, end = offsets
    if not 0 <= begin <= end <= size - start:
        raise ValueError("the tensor is not inside the file")
    if end - begin != math.prod(shape) * kind.itemsize:
        raise ValueError("the tensor has another size than its shape")
    if begin == end:
        return np.empty(shape, kind), dtype
    mapped = np.memmap(file, np.uint8, "r", offset=start + begin, shape=(end - begin,))
    return np.array(mapped).view(kind).reshape(shape), dtype  # a copy, which outlives the file


def _widened(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers of a kind that numpy lacks as float32."""
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    return _E4M3[bits] if dtype == "F8_E4M3" else bits


def _e4m3() -> np.ndarray:
    """What each of the 256 codes of float8_e4m3fn stands for: there is no infinity, and one NaN of each sign."""
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    size = np.where(exponent == 0, fraction / 512, (8 + fraction) * 2.0 ** (exponent - 10))
    size[codes & 127 == 127] = np.nan
    return np.where(codes < 128, size, -size).astype(np.float32)


_E4M3 = _e4m3()
