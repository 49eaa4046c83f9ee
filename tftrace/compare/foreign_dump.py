"""Tensors that another program wrote: named arrays in order, from `.npz`, a folder of `.npy` or `.safetensors`.

The files may be a stranger's. Nothing is unpickled, and what a header says is checked against the size of its file
before memory is taken."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ..errors import TraceError
from ..trace.disk import safetensors_file
from ..trace.disk.safe_files import read_bytes, regular

ORDER = "order.json"
_ORDER_LIMIT = 16 << 20  # bytes
_ARRAY_LIMIT = 8 << 30  # bytes of one array that is packed, whose size on disk says nothing
_KINDS = "fiub"  # of dtypes: real numbers and booleans
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """An array of a dump.

    Attributes:
        name: its name in the dump, without the ending of its file.
        shape: its sizes.
        dtype: its numbers, such as `float32`.
        load: reads it; bfloat16 and eight-bit floats come as float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], np.ndarray]


def is_dump(path: Path) -> bool:
    """Whether a path looks like a dump, and not like a trace."""
    if path.is_dir():
        return not (path / "meta.json").exists() and any(path.glob("*.npy"))
    return path.suffix in (".npz", ".safetensors") and path.is_file()


def read_dump(path: Path) -> list[NamedTensor]:
    """The tensors of a dump, in the order of `order.json` beside them (a list of names), else as stored: by place in an
    `.npz` or `.safetensors`, by name in a folder, where `layer.2` comes before `layer.10`.

    Raises:
        TraceError: there is no dump at `path`, a file is damaged or holds objects, or `order.json` names what is not
            there.
    """
    folder = path if path.is_dir() else path.parent
    try:
        found = list(_folder(path) if path.is_dir() else _packed(path) if path.suffix == ".npz" else _safetensors(path))
    except FileNotFoundError as error:
        raise TraceError(f"There is no dump at {path}: name an .npz, a .safetensors or a folder of .npy.") from error
    except (OSError, ValueError, TypeError, RecursionError, zipfile.BadZipFile, NotImplementedError) as error:
        raise TraceError(f"{path} cannot be read as arrays ({error}): write it again.") from error
    if not found:
        raise TraceError(f"{path} holds no arrays: name an .npz, a .safetensors or a folder of .npy.")
    return _ordered(found, folder, whole=path.is_dir())


def _ordered(found: list[NamedTensor], folder: Path, whole: bool) -> list[NamedTensor]:
    """In the order that `order.json` says; of a file it may be another's, and only counts if it names all of it."""
    if not (folder / ORDER).exists():
        return found
    try:
        said = json.loads(read_bytes(folder, ORDER, limit=_ORDER_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(f"{folder / ORDER} is no JSON: write a list of names, or remove it.") from error
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise TraceError(f"{folder / ORDER} is no list of names: write one, or remove it.")
    place = {name: at for at, name in enumerate(dict.fromkeys(said))}
    missing = [name for name in place if name not in {one.name for one in found}]
    if missing and not whole:
        return found
    if missing:
        raise TraceError(f"{folder / ORDER} names {missing[0]!r}, which is not there: write it again, or remove it.")
    return sorted(found, key=lambda one: place.get(one.name, len(place)))  # what it leaves out comes last, as stored


def _own(path: Path) -> Path:
    """A file that the user named, which may be a link to it; raises OSError for a pipe, which would wait for ever."""
    file = path.resolve(strict=True)
    if not file.is_file():
        raise OSError("it is no plain file")
    return file


def _folder(folder: Path) -> Iterable[NamedTensor]:
    names = [path.name for path in folder.iterdir() if path.suffix == ".npy"]
    for name in sorted(names, key=lambda one: [int(p) if p.isdigit() else p for p in _DIGITS.split(one)]):
        file = regular(folder, name)
        with file.open("rb") as stream:
            shape, kind, _ = _header(stream, file.stat().st_size, name)
        yield NamedTensor(name.removesuffix(".npy"), shape, kind.name, partial(_load, file))


def _load(file: Path) -> np.ndarray:
    try:
        return np.array(np.load(file, allow_pickle=False, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise TraceError(f"{file} cannot be read as an array: write it again.") from error


def _packed(path: Path) -> Iterable[NamedTensor]:
    with zipfile.ZipFile(_own(path)) as packed:
        for entry in packed.infolist():
            if entry.filename.endswith(".npy"):
                with packed.open(entry) as stream:
                    shape, kind, _ = _header(stream, entry.file_size, entry.filename)
                if entry.file_size > _ARRAY_LIMIT:
                    raise ValueError(f"{entry.filename} is larger than 8 GB")
                name = entry.filename.removesuffix(".npy")
                yield NamedTensor(name, shape, kind.name, partial(_unpacked, path, entry.filename))


def _unpacked(path: Path, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as packed, packed.open(name) as stream:
            shape, kind, by_column = _header(stream, packed.getinfo(name).file_size, name)
            content = np.frombuffer(stream.read(math.prod(shape) * kind.itemsize), kind)
            return content.reshape(shape[::-1]).T if by_column else content.reshape(shape)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise TraceError(f"{path} cannot be read as arrays ({error}): write it again.") from error


def _header(stream: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, dtype and whether columns lie together, as the header of an array says; raises ValueError for what is not
    wholly in `size` bytes."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has version {version} of the format")
    shape, by_column, kind = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    if kind.kind not in _KINDS or kind.hasobject:
        raise ValueError(f"{name} holds {kind}, not real numbers: write float32")
    if min(shape, default=0) < 0 or stream.tell() + math.prod(shape) * kind.itemsize > size:
        raise ValueError(f"{name} is shorter than its shape")
    return shape, kind, by_column


def _safetensors(path: Path) -> Iterable[NamedTensor]:
    file = _own(path)
    for name, entry in sorted(safetensors_file.entries(file).items(), key=lambda one: one[1].begin):
        if entry.dtype != "C64":
            yield NamedTensor(name, entry.shape, entry.kind, partial(safetensors_file.read, file, entry))
