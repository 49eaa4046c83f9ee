"""Reads the tensors that a recording kept whole, without torch.

They lie in safetensors files. Since a trace may be a stranger's, the place of a value and what its file says about it
are checked against the size of the file before memory is allocated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TraceError
from . import schema
from .disk import safetensors_file
from .disk.safe_files import regular

_ROLES = (
    schema.OUTPUT,
    schema.LOCAL,
    schema.INPUT,
    schema.PARAMETER,
    schema.GRADIENT,
)  # if none is named, the first that fits
_MOST_REPEATED = 1 << 30  # numbers of a tensor that was kept without its repetitions
_FILE = re.compile(r"\d{5}-\d{5}\.safetensors", re.ASCII)
_PLACE = re.compile(r"(\d{5}-\d{5}\.safetensors)#(\d{1,19})", re.ASCII)


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
        file = regular(folder, "values", found[1])
        entry = safetensors_file.entries(file).get(found[2])
        if entry is None or not _repeats(entry.shape, shape):
            raise ValueError("the tensor is not there, or has another shape")
        numbers = safetensors_file.read(file, entry)
        return numbers if entry.shape == shape else np.broadcast_to(numbers, shape)
    except FileNotFoundError as error:
        raise TraceError(f"{file} is missing, which kept the value: check the folder, or record it again.") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as values: check the folder, or record it again.") from error


def _repeats(kept: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a kept tensor is that of a shape, or one along whose axes of size 1 the numbers repeat.

    A stranger's row may claim any shape: beyond a limit it is refused, as whoever looks may well copy it."""
    if kept == shape:
        return True
    fits = len(kept) == len(shape) and all(size in (1, whole) for size, whole in zip(kept, shape, strict=True))
    return fits and 0 <= math.prod(shape) <= _MOST_REPEATED


def kept(folder: Path, name: str) -> dict[str, safetensors_file.Entry]:
    """List the tensors of a file of values by their keys.

    Raises:
        TraceError: The file cannot be read.
    """
    file = folder / "values" / name
    try:
        return safetensors_file.entries(regular(folder, "values", name))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as values: check the folder, or record it again.") from error


def files(folder: Path) -> list[str]:
    """The names of a trace's files of values, sorted."""
    found = (folder / "values").glob("*.safetensors") if not (folder / "values").is_symlink() else ()
    return sorted(path.name for path in found if _FILE.fullmatch(path.name))
