"""Which tensor is which where torch no longer tells which memory a tensor is in: the same object is the same record."""

from __future__ import annotations

from contextlib import suppress

import torch

from ..torch_internals import version_of
from .identity import Identities, Record, View


class ObjectIdentities(Identities):
    """Numbers tensors by their objects and versions; a view, or the same memory in another object, is another tensor.

    The views that are noted name no storage, but still the version by which a write is seen."""

    def of(self, tensor: torch.Tensor, seen: dict[int, View] | None = None) -> Record:
        """The tensor's record; one of an inference tensor, which does not count its writes, is always new."""
        if tensor.is_inference():
            return self._alone(tensor)
        with suppress(RuntimeError, NotImplementedError, TypeError):
            shape, stride = tensor.shape, tensor.stride()
            view = (None, version_of(tensor), tensor.storage_offset(), shape, stride, tensor.dtype, tensor.is_neg())
            if seen is not None:
                seen[id(tensor)] = view
        return self._of_object(tensor)

    def forget(self, tensor: torch.Tensor) -> None:
        """A tensor was written to behind its version's back: whose memory that was, nobody knows."""
        self._objects.clear()
