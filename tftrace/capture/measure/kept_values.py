"""Tensors that are kept whole, within a budget, in safetensors files of the trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors.torch import save

from ...errors import TraceError
from ...trace import schema
from ...trace.disk.folder import write_bytes
from ..torch_internals import base_of
from .identity import Record
from .plain_memory import address

AUTO_BYTES = 256 << 20
_FILE_BYTES = 32 << 20  # what may wait in memory, and the usual size of a file
_DTYPES = frozenset(  # what safetensors files of every version hold and `tftrace.trace.values` reads
    (
        *(torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64),
        *(torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
        *(torch.float8_e4m3fn, torch.float8_e5m2),
    )
)


def check_wanted(wanted: str | Sequence[str]) -> None:
    """Raises TraceError for what `Values` does not know."""
    known = ("all", "auto", "none")
    patterns = isinstance(wanted, Sequence) and all(isinstance(pattern, str) for pattern in wanted)
    if not patterns or (isinstance(wanted, str) and wanted not in known):
        raise TraceError(f"values={wanted!r} is not known: choose 'auto', 'all', 'none' or a list of patterns.")


class Values:
    """Keeps tensors: `"all"`; `"auto"`, which is all but parameters, as long as they fit into 256 MB; or those of
    steps whose names fit one of some glob patterns."""

    def __init__(self, folder: Path, rank: int, wanted: str | Sequence[str]) -> None:
        self._folder, self._rank, self._wanted = folder, rank, wanted
        self._left = AUTO_BYTES if wanted == "auto" else None
        self._file = 0
        self._waiting: dict[str, torch.Tensor] = {}
        self.places: dict[int, str] = {}  # number of a tensor -> where it is kept
        self._bytes = 0
        self.before: Callable[[], None] = lambda: None  # called before a file is written; what it raises prevents that
        self.patient = False  # whether nothing is written before `write` says so

    def keep(self, record: Record, tensor: torch.Tensor, name: str, role: str) -> None:
        """Keep a tensor that a step of this name saw, if it is wanted and fits."""
        number, _, _, _, _, nbytes, _ = record
        if number in self.places:
            return
        if self._left is not None and (nbytes > self._left or role == schema.PARAMETER or is_weight(tensor)):
            return
        if not isinstance(self._wanted, str) and not any(fnmatchcase(name, pattern) for pattern in self._wanted):
            return
        if tensor.layout is not torch.strided or tensor.dtype not in _DTYPES:
            return
        if tensor.is_nested or (nbytes and not address(tensor)):
            return
        with contextlib.suppress(RuntimeError, NotImplementedError):  # a wrapper without a storage of its own
            copy = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
            if type(copy) is not torch.Tensor:
                return
            copy.untyped_storage()  # which a tensor within torch.vmap has not
            self._waiting[str(number)] = copy
            self.places[number] = f"{self._rank:05d}-{self._file:05d}.safetensors#{number}"
            self._bytes += nbytes
            if self._left is not None:
                self._left -= nbytes
            if self._bytes >= _FILE_BYTES and not self.patient:
                self.write()

    def drop(self, number: int) -> None:
        """Keep a tensor that waits to be written no longer."""
        tensor = self._waiting.pop(str(number), None)
        if tensor is not None:
            del self.places[number]
            self._bytes -= tensor.nbytes
            if self._left is not None:
                self._left += tensor.nbytes

    def write(self) -> None:
        """Write what waits to a file of its own."""
        if not self._waiting:
            return
        self.before()
        folder = self._folder / "values"
        folder.mkdir(exist_ok=True)
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        tensors = {key: tensor.cpu() for key, tensor in waiting.items()}
        write_bytes(folder / f"{self._rank:05d}-{self._file:05d}.safetensors", save(tensors))
        self._file += 1


def is_weight(tensor: torch.Tensor) -> bool:
    """Whether this is a parameter, or a view of one, though a function or an op was given it as an input."""
    return isinstance(tensor, torch.nn.Parameter) or isinstance(base_of(tensor), torch.nn.Parameter)
