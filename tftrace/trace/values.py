"""Reads the tensors that a recording kept whole, without torch.

They lie in safetensors files. Since a trace may be a stranger's, the place of a value and what its file says about it
are checked against the size of the file before memory is allocated."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import TraceError
from . import schema
from .disk.safe_files import regular

_ROLES = (
    schema.OUTPUT,
    schema.LOCAL,
    schema.INPUT,
    schema.PARAMETER,
    schema.GRADIENT,
)  # if none is named, the first that fits
_FILE = re.compile(r"\d{5}-\d{5}\.safetensors", re.ASCII)
_PLACE = re.compile(r"(\d{5}-\d{5}\.safetensors)#(\d{1,19})", re.ASCII)
_ENTRY = ("dtype", "shape", "data_offsets")
_HEADER_LIMIT = 64 << 20  # bytes; the headers of our files have about a hundred per tensor
_WIDENED = {"BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}  # NumPy lacks these: read as bits, returned as float32
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


def kept_row(
    rows: Sequence[Any], step: int, name: str, role: str | None, elsewhere: Callable[[], int | None] = lambda: None
) -> Any:
    """Choose the row of a kept tensor.

    Args:
        rows: The rows of the tensors that a step saw.
        step: The position of the step, for messages.
        name: The name of the tensor.
        role: Its role; None for the first of output, local, input, parameter and gradient that fits.
        elsewhere: Finds the position of a step that saw a tensor of this name, for the message that this step did not.

    Raises:
        TraceError: There is no such tensor, or it was not kept.
    """
    if role is not None and role not in _ROLES:
        raise TraceError(f"There is no role {role!r}: choose one of {', '.join(_ROLES)}.")
    found = [row for row in rows if row.name == name and row.role in ((role,) if role else _ROLES)]
    if not found:
        named = ", ".join(dict.fromkeys(f"{row.name!r} ({row.role})" for row in rows)) or "none of its own"
        near = elsewhere()
        way = "" if near is None or near == step else f"; step {near} saw {name!r}"
        raise TraceError(f"Step {step} saw no tensor {name!r}{f' as {role}' if role else ''}: it saw {named}{way}.")
    row = min(found, key=lambda one: _ROLES.index(one.role))
    if row.value is None:
        way = "values='all'" if row.role == schema.PARAMETER else "values='auto', or 'all' if that is too little"
        raise TraceError(f"The {row.role} {name!r} of step {step} was not kept: record with {way}.")
    return row


def read_value(folder: Path, place: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read a kept tensor.

    Args:
        folder: The folder of the trace.
        place: Where the tensor is kept, such as `00000-00000.safetensors#7`.
        shape: The shape that it must have.

    Returns:
        Its numbers; bfloat16 and 8-bit floats as float32, which holds them exactly.

    Raises:
        TraceError: There is no such tensor.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        raise TraceError(f"{folder} names {place[:60]!r} as the place of a value, which is none: record it again.")
    file = folder / "values" / found[1]
    try:
        return _widened(*_read(regular(folder, "values", found[1]), found[2], shape))
    except FileNotFoundError as error:
        raise TraceError(f"{file} is missing, which kept the value: check the folder, or record it again.") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as values: check the folder, or record it again.") from error


class Kept(NamedTuple):
    """A tensor in a file of values: its dtype by its name in the file, its shape, and where its bytes begin and end."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def kept(folder: Path, name: str) -> dict[str, Kept]:
    """List the tensors of a file of values by their keys.

    Raises:
        TraceError: The file cannot be read.
    """
    file = folder / "values" / name
    try:
        header, start, size = _header(regular(folder, "values", name))
        return {key: _entry(entry, start, size) for key, entry in header.items() if key != "__metadata__"}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as values: check the folder, or record it again.") from error


def files(folder: Path) -> list[str]:
    """The names of a trace's files of values, sorted."""
    found = (folder / "values").glob("*.safetensors") if not (folder / "values").is_symlink() else ()
    return sorted(path.name for path in found if _FILE.fullmatch(path.name))


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


def _entry(entry: Any, start: int, size: int) -> Kept:
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
    return Kept(dtype, tuple(shape), start + begin, start + end)


def _read(file: Path, key: str, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The numbers as they are in the file, and the name of their dtype there."""
    header, start, size = _header(file)
    found = _entry(header.get(key), start, size)
    if found.shape != shape:
        raise ValueError("the tensor has another shape")
    kind = np.dtype(_DTYPES[found.dtype])
    if found.begin == found.end:
        return np.empty(shape, kind), found.dtype
    mapped = np.memmap(file, np.uint8, "r", offset=found.begin, shape=(found.end - found.begin,))
    return np.array(mapped).view(kind).reshape(shape), found.dtype  # a copy, which outlives the file


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
