"""Which tensor is which: the same storage, view and version is the same record.

A tensor that leaves several nested modules is then summarised once, and the flow of data between steps is known
exactly. A weak reference to the storage keeps its address from being used again, but not its memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .fingerprint import fingerprint
from .stats import summarize

_FEW = 4096  # tensors remembered before the first look at which of them are gone
_VIEWS = 256  # of one storage, with its versions: one that is written to again and again has no end of them


class Record:
    """One tensor: its number, its form, its statistics, and where it is kept whole, if it is."""

    __slots__ = ("device", "dtype", "nbytes", "number", "numel", "shape", "summary", "value")

    def __init__(self, number: int, tensor: torch.Tensor, summary: Any) -> None:
        self.number, self.summary = number, summary
        self.value: str | None = None
        self.shape = _shape(tensor)
        self.dtype, self.device = _text(tensor.dtype), _text(tensor.device)
        self.numel = tensor.numel()
        self.nbytes = self.numel * tensor.element_size()


class Identities:
    """Numbers tensors in order of first sight and remembers their statistics, which `summary` computes."""

    def __init__(self, summary: Callable[[torch.Tensor], Any] = summarize) -> None:
        self._summary = summary
        # id of a tensor object -> (weak reference, version, address, record): most are seen again as the same object
        self._objects: dict[int, tuple[Callable[[], Any], int, int, Record]] = {}
        # storage -> (weak reference, view and version -> record, stretch and version -> statistics)
        self._storages: dict[int, tuple[StorageWeakRef, dict[Hashable, Record], dict[Hashable, Any]]] = {}
        self._next = count()
        self._most = _FEW

    def of(self, tensor: torch.Tensor) -> Record:
        """The tensor's record: its number and its statistics at this moment."""
        known = self._objects.get(id(tensor))
        try:
            version, address = tensor._version, tensor.data_ptr()
            if known is not None and known[0]() is tensor and known[1] == version and known[2] == address:
                return known[3]
            storage = tensor.untyped_storage()
        except (RuntimeError, NotImplementedError):
            return self._without_version(tensor)
        record = self._viewed(tensor, storage, version)
        self._objects[id(tensor)] = (weakref.ref(tensor), version, address, record)
        return record

    def _viewed(self, tensor: torch.Tensor, storage: Any, version: int, content: Hashable = None) -> Record:
        """The record of a view of a storage at a version."""
        known = self._storages.get(storage._cdata)
        if known is None:
            known = self._storages[storage._cdata] = (StorageWeakRef(storage), {}, {})  # type: ignore[no-untyped-call]
        _, views, stretches = known
        if len(views) > _VIEWS:
            views.clear()
            stretches.clear()
        # A pending sign: the storage holds the numbers without it.
        signs = tensor.is_neg(), tensor.dtype.is_complex and tensor.is_conj()
        shape, stride, dtype, offset = tensor.shape, tensor.stride(), tensor.dtype, tensor.storage_offset()
        view = (offset, shape, stride, dtype, version, signs, content)
        record = views.get(view)
        if record is None:
            if _dense(shape, stride):  # a transposed or reshaped view has the same elements
                stretch = (offset, tensor.numel(), dtype, version, signs, content)
                summary = stretches.get(stretch)
                if summary is None:
                    summary = stretches[stretch] = self._summary(tensor)
            else:
                summary = self._summary(tensor)
            record = views[view] = self._made(tensor, summary)
        return record

    def _without_version(self, tensor: torch.Tensor) -> Record:
        """An inference tensor does not count its writes: it is the same while its storage holds the same numbers.

        The numbers are compared by their statistics and by a sum that depends on their order. What has no storage
        at all, such as a wrapper, is known as long as the object lives."""
        if not tensor.is_inference():
            known = self._objects.get(id(tensor))
            if known is not None and known[0]() is tensor:
                return known[3]
            record = self._made(tensor, self._summary(tensor))
            self._objects[id(tensor)] = (weakref.ref(tensor), -1, -1, record)
            return record
        try:
            storage = tensor.untyped_storage()
        except (RuntimeError, NotImplementedError):
            return self._made(tensor, self._summary(tensor))
        return self._viewed(tensor, storage, -1, fingerprint(tensor))

    def _made(self, tensor: torch.Tensor, summary: Any) -> Record:
        return Record(next(self._next), tensor, summary)

    def forget_freed(self) -> None:
        """Drop what is known of tensors and storages that are gone, once they have become many."""
        if len(self._objects) + len(self._storages) < self._most:
            return
        self._objects = {key: known for key, known in self._objects.items() if known[0]() is not None}
        live = [(key, known) for key, known in self._storages.items() if not known[0].expired()]  # type: ignore[no-untyped-call]
        self._storages = dict(live)
        self._most = max(_FEW, 2 * (len(self._objects) + len(self._storages)))


@lru_cache(maxsize=4096)
def _dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether the elements of a view fill one stretch of the storage, each once."""
    expected = 1
    for step, size in sorted((step, size) for step, size in zip(stride, shape, strict=True) if size != 1):
        if step != expected:
            return False
        expected *= size
    return True


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """Sizes as plain numbers; -1 where a nested tensor's rows differ."""
    try:
        return tuple([int(size) for size in tensor.shape])
    except (RuntimeError, TypeError):
        return tuple([-1] * tensor.dim())


@lru_cache(maxsize=256)
def _text(value: Any) -> str:
    return str(value).removeprefix("torch.")
