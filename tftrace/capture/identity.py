"""Which tensor is which: the same storage, view and version is the same record.

A tensor that leaves several nested modules is then summarised once, and the flow of data between steps is
known exactly. A weak reference to the storage keeps its number from being used again, but not its memory."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from .stats import Summary, summarize


class Identities:
    """Numbers tensors in order of first sight and remembers their statistics."""

    def __init__(self) -> None:
        # storage -> (weak reference, view and version -> record)
        self._known: dict[int, tuple[StorageWeakRef, dict[Hashable, tuple[int, Summary]]]] = {}
        self._next = count()

    def of(self, tensor: torch.Tensor) -> tuple[int, Summary]:
        """The tensor's number and its statistics at this moment."""
        try:
            storage = tensor.untyped_storage()
            signs = tensor.is_neg(), tensor.is_complex() and tensor.is_conj()  # pending, so the storage has the others
            view = (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version, signs)
        except (RuntimeError, NotImplementedError):
            # An inference tensor has no version, so nothing tells the same values from overwritten ones.
            return next(self._next), summarize(tensor)
        if (known := self._known.get(storage._cdata)) is None:
            known = self._known[storage._cdata] = (StorageWeakRef(storage), {})  # type: ignore[no-untyped-call]
        record = known[1].get(view)
        if record is None:
            record = known[1][view] = next(self._next), summarize(tensor)
        return record

    def forget_freed(self) -> None:
        """Drop what is known of storages that are gone: nothing can name them any more."""
        freed = [key for key, (weak, _) in self._known.items() if weak.expired()]  # type: ignore[no-untyped-call]
        for key in freed:
            del self._known[key]
