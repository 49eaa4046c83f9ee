"""Keeps tensors whole, within a budget, in safetensors files of the trace."""

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
from .stats import PLAIN

NONE, SCREEN, AUTO, ALL = "none", "screen", "auto", "all"
ATTENTION, RESULT = "attention", "result"  # what the screen needs whole, however large
SCREEN_BYTES, AUTO_BYTES = 32 << 20, 256 << 20  # that a recording keeps
_SMALL = 64 << 10  # bytes up to which `SCREEN` keeps any tensor
_FOR_SMALL = 8 << 20  # bytes of its budget that attention leaves to smaller tensors
_FILE_BYTES = 32 << 20  # tensors that may wait in memory, and the usual size of a file
_DTYPES = frozenset(  # dtypes that every version of safetensors can store and `tftrace.trace.values` can read
    (
        *(torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64),
        *(torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
        *(torch.float8_e4m3fn, torch.float8_e5m2),
    )
)


def check_wanted(wanted: str | Sequence[str]) -> None:
    """Raise TraceError if `wanted` is not one of the choices of `Values`."""
    known = (NONE, SCREEN, AUTO, ALL)
    patterns = isinstance(wanted, Sequence) and all(isinstance(pattern, str) for pattern in wanted)
    if not patterns or (isinstance(wanted, str) and wanted not in known):
        raise TraceError(
            f"values={wanted!r} is not known: choose 'screen', 'auto', 'all', 'none' or a list of patterns."
        )


class Values:
    """Keeps the tensors of one rank.

    Args:
        folder: The folder of the trace.
        rank: The number of this process.
        wanted: What to keep: `"none"`; `"all"`; `"auto"`, which is all but parameters until 256 MiB are full;
            `"screen"`, which is what attention takes and gives, what forwards return, and tensors of up to 64 KiB,
            until 32 MiB are full; or a list of glob patterns of the names of steps.

    Attributes:
        places: Where each tensor is kept, by its number.
        before: Called before a file is written; an exception from it prevents that.
        patient: Whether to write nothing until `write` is called.
    """

    def __init__(self, folder: Path, rank: int, wanted: str | Sequence[str]) -> None:
        self._folder, self._rank, self._wanted = folder, rank, wanted
        self._left = {SCREEN: SCREEN_BYTES, AUTO: AUTO_BYTES}.get(wanted) if isinstance(wanted, str) else None
        self._fits = self._fits_screen if wanted == SCREEN else self._fits_auto
        self._full = False
        self._file = 0
        self._waiting: dict[str, torch.Tensor] = {}
        self.places: dict[int, str] = {}
        self._bytes = 0
        self.before: Callable[[], None] = lambda: None
        self.patient = False

    def keep(self, record: Record, tensor: torch.Tensor, name: str, role: str, part: str = "") -> None:
        """Keep a tensor that a step saw, if it is wanted and fits.

        Args:
            record: The record of the tensor.
            tensor: The tensor, which is copied.
            name: The name of the step.
            role: The role of the tensor in the step.
            part: `ATTENTION` if an attention takes or gives it, `RESULT` if a forward returns it, else empty.
        """
        number, _, _, _, _, nbytes, _ = record
        if self._full or number in self.places:
            return
        tensor = _without_repetition(tensor)
        nbytes = tensor.nbytes if nbytes and tensor.layout is torch.strided else nbytes
        if self._left is not None and not self._fits(nbytes, self._left, tensor, role, part):
            return
        if not isinstance(self._wanted, str) and not any(fnmatchcase(name, pattern) for pattern in self._wanted):
            return
        if tensor.layout is not torch.strided or tensor.dtype not in _DTYPES:
            return
        if tensor.is_nested or (nbytes and not address(tensor)):
            return
        with contextlib.suppress(RuntimeError, NotImplementedError):  # wrappers may have no storage of their own
            copy = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
            if type(copy) is not torch.Tensor:
                return
            copy.untyped_storage()  # raises for a tensor within torch.vmap, which has none
            self._waiting[str(number)] = copy
            self.places[number] = f"{self._rank:05d}-{self._file:05d}.safetensors#{number}"
            self._bytes += nbytes
            if self._left is not None:
                self._left -= nbytes
            if self._bytes >= _FILE_BYTES and not self.patient:
                self.write()

    @staticmethod
    def _fits_auto(nbytes: int, left: int, tensor: torch.Tensor, role: str, part: str) -> bool:
        return nbytes <= left and role != schema.PARAMETER and not is_weight(tensor)

    def _fits_screen(self, nbytes: int, left: int, tensor: torch.Tensor, role: str, part: str) -> bool:
        if nbytes <= _SMALL:
            self._full = nbytes > left  # later forwards would only be kept in patches
            return not self._full
        room = left if part == RESULT else left - _FOR_SMALL
        return bool(part) and nbytes <= room and role != schema.PARAMETER and not is_weight(tensor)

    def drop(self, number: int) -> None:
        """Do not keep a tensor after all, if it has not been written yet."""
        tensor = self._waiting.pop(str(number), None)
        if tensor is not None:
            del self.places[number]
            self._bytes -= tensor.nbytes
            if self._left is not None:
                self._left += tensor.nbytes
                self._full = False

    def write(self) -> None:
        """Write the tensors that wait to a new file; after an interrupt they wait on, since rows will name them.

        Raises:
            OSError: The file cannot be written, and they are not kept.
        """
        if not self._waiting:
            return
        self.before()
        folder = self._folder / "values"
        try:
            folder.mkdir(exist_ok=True)
            write_bytes(folder / f"{self._rank:05d}-{self._file:05d}.safetensors", save(_on_host(self._waiting)))
        except OSError:
            for number in self._waiting:
                self.places.pop(int(number), None)
            self._waiting, self._bytes = {}, 0
            raise
        self._waiting, self._bytes, self._file = {}, 0, self._file + 1


def _on_host(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy contiguous tensors to the host, with one copy from each device."""
    found = dict(tensors)
    for device in {tensor.device for tensor in tensors.values() if not tensor.is_cpu}:
        there = {key: tensor for key, tensor in tensors.items() if tensor.device == device}
        flat = torch.cat([tensor.view(-1).view(torch.uint8) for tensor in there.values()]).cpu()
        parts = flat.split([tensor.nbytes for tensor in there.values()])
        for (key, tensor), part in zip(there.items(), parts, strict=True):
            found[key] = part.clone().view(tensor.dtype).view(tensor.shape)
    return found


def _without_repetition(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with size 1 along each axis on which it repeats its numbers, as views that were expanded do."""
    if type(tensor) not in PLAIN or tensor.layout is not torch.strided or tensor.is_nested:
        return tensor
    for axis, (size, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if step == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def is_weight(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a parameter or a view of one, even if it is an input of a function or an op."""
    if type(tensor) is not torch.Tensor and isinstance(tensor, torch.nn.Parameter):
        return True
    return (base := base_of(tensor)) is not None and isinstance(base, torch.nn.Parameter)
