"""Whether a tensor that does not count its writes (one made in inference mode) still holds the same numbers."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numkong import from_pointer

from .plain_memory import host_address

_BLOCK = 1 << 15  # words of 8 bytes


def fingerprint(tensor: torch.Tensor) -> Hashable:
    """A sum over the tensor's words of 64 bits, each times an odd number that belongs to its place: one changed word
    always changes it, and so does a change of order. What cannot be read without waiting for a device is never
    the same twice."""
    if not tensor.is_cpu:
        return object()
    try:
        size = tensor.numel() * tensor.element_size()
        if size and not host_address(tensor):
            return object()
        dense = tensor.detach().resolve_neg().resolve_conj().contiguous()
    except (RuntimeError, TypeError, NotImplementedError):
        return object()
    if not (address := host_address(dense)):  # `Tensor.numpy()` would leave a storage that its owner cannot resize
        return object() if size else 0
    flat = np.asarray(from_pointer(address, size, "uint8"))
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(np.uint64)
    total = hash(flat[whole:].tobytes())
    for at in range(0, len(words), _BLOCK):
        part = words[at : at + _BLOCK]
        total = hash((total, int((part * _odd()[: len(part)]).sum())))
    return total


@lru_cache(maxsize=1)
def _odd() -> Any:
    return np.random.default_rng(0).integers(0, 1 << 63, _BLOCK, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
