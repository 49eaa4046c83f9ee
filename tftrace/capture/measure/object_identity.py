"""Identifies tensors by their objects, for a torch that no longer tells in which memory a tensor is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import torch

from ..torch_internals import version_of
from .identity import Identities, Record, View


class ObjectIdentities(Identities):
    """Numbers tensors by object and version; a view, or the same memory in another object, is another tensor.

    The views that it notes name no storage, but they have the version, by which writes are noticed.
    """

    def of(self, tensor: torch.Tensor, seen: dict[int, View] | None = None) -> Record:
        """Return the record of a tensor; one made in inference mode, which does not count writes, gets a new one."""
        if tensor.is_inference():
            return self._alone(tensor)
        with suppress(RuntimeError, NotImplementedError, TypeError):
            shape, stride = tensor.shape, tensor.stride()
            view = (None, version_of(tensor), tensor.storage_offset(), shape, stride, tensor.dtype, tensor.is_neg())
            if seen is not None:
                seen[id(tensor)] = view
        return self._of_object(tensor)

    def forget(self, tensors: Iterable[torch.Tensor]) -> None:
        """Forget all records: tensors were written to without a change of version, in unknown memory."""
        self._objects.clear()
