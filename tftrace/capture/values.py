"""Tensors that are kept whole, within a budget, in safetensors files of the trace."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors.torch import save_file

from .. import schema
from ..errors import TraceError
from .identity import NBYTES, NUMBER, Record

AUTO_BYTES = 256 << 20
_FILE_BYTES = 32 << 20  # what may wait in memory, and the usual size of a file


def check_wanted(wanted: str | Sequence[str]) -> None:
    """Raises TraceError for what `Values` does not know."""
    if isinstance(wanted, str) and wanted not in ("all", "auto", "none"):
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

    def keep(self, record: Record, tensor: torch.Tensor, name: str, role: str) -> None:
        """Keep a tensor that a step of this name saw, if it is wanted and fits."""
        if record[NUMBER] in self.places:
            return
        if self._left is not None and (role == schema.PARAMETER or record[NBYTES] > self._left):
            return
        if not isinstance(self._wanted, str) and not any(fnmatchcase(name, pattern) for pattern in self._wanted):
            return
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or record[NBYTES] == 0:
            return
        with contextlib.suppress(RuntimeError, NotImplementedError):  # a wrapper without a storage of its own
            copy = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
            if type(copy) is not torch.Tensor:
                return
            self._waiting[str(record[NUMBER])] = copy
            self.places[record[NUMBER]] = f"{self._rank:05d}-{self._file:05d}.safetensors#{record[NUMBER]}"
            self._bytes += record[NBYTES]
            if self._left is not None:
                self._left -= record[NBYTES]
            if self._bytes >= _FILE_BYTES:
                self.write()

    def write(self) -> None:
        """Write what waits to a file of its own."""
        if not self._waiting:
            return
        folder = self._folder / "values"
        folder.mkdir(exist_ok=True)
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        tensors = {key: tensor.cpu() for key, tensor in waiting.items()}
        save_file(tensors, folder / f"{self._rank:05d}-{self._file:05d}.safetensors")
        self._file += 1
