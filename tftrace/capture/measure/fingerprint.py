"""Fingerprints of tensors made in inference mode, which do not count their writes: do they hold the same numbers?"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from .plain_memory import host_address, memory

_BLOCK = 1 << 15  # words of 8 bytes
_HALF = np.uint64(32)


def fingerprint(tensor: torch.Tensor) -> Hashable:
    """Hash the numbers of a tensor.

    Its 64-bit words are added up, each multiplied by an odd number that depends on its place, so that the sum changes
    with every single word and with their order. The highest bit, a sign, is mixed into lower ones before: times any odd
    number it would be the same, and two signs would undo each other.

    Returns:
        The hash. A tensor that cannot be read without waiting for a device gets another one every time.
    """
    if not tensor.is_cpu:
        return object()
    try:
        size = tensor.numel() * tensor.element_size()
        if size and not host_address(tensor):
            return object()
        dense = tensor.detach().resolve_neg().resolve_conj().contiguous()
    except (RuntimeError, TypeError, NotImplementedError):
        return object()
    if not (address := host_address(dense)):  # (after `Tensor.numpy()` its owner could not resize the storage)
        return object() if size else 0
    flat: np.ndarray = np.ndarray(size, np.uint8, memory(address))
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(np.uint64)
    total = hash(flat[whole:].tobytes())
    for at in range(0, len(words), _BLOCK):
        part = words[at : at + _BLOCK]
        total = hash((total, int(((part ^ part >> _HALF) * _odd()[: len(part)]).sum())))
    return total


@lru_cache(maxsize=1)
def _odd() -> Any:
    return np.random.default_rng(0).integers(0, 1 << 63, _BLOCK, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
