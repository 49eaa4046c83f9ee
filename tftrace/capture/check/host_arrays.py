"""Reads the numbers of a tensor: on the host as an array over its memory, on an accelerator as a tensor.

Nothing waits for an accelerator until `fetch`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...recipes.evaluate import named_slices
from ...recipes.evaluate.value import Array
from ..measure.plain_memory import address, is_spread, memory
from .references import Unbound

KINDS: dict[torch.dtype, np.dtype[Any]] = {  # dtypes that are read in place
    torch.float64: np.dtype(np.float64),
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.int64: np.dtype(np.int64),
    torch.int32: np.dtype(np.int32),
    torch.int16: np.dtype(np.int16),
    torch.int8: np.dtype(np.int8),
    torch.uint8: np.dtype(np.uint8),
    torch.bool: np.dtype(np.bool_),
}

SPREAD = "its tensors are spread over processes (DTensor), and this one holds a part of them"


def host_kind(dtype: Any) -> Any:
    """The dtype of what `host` returns for this dtype."""
    return KINDS.get(dtype, np.dtype(np.float64)) if isinstance(dtype, torch.dtype) else dtype


def host(found: Any) -> Array:
    """Return the numbers as an array, copied from a device if necessary."""
    if isinstance(found, torch.Tensor):
        found = found.cpu()
        found = (found if found.dtype in KINDS else found.to(torch.float64)).numpy()
    array: Array = np.asarray(found)
    return array


def on_host(tensor: torch.Tensor) -> bool:
    """Whether the numbers of a tensor can be read without waiting for a device."""
    return tensor.is_cpu


def numbers_of(tensor: torch.Tensor) -> Any:
    """Return the numbers of a tensor, for immediate use.

    They are read through the address: after `Tensor.numpy()` the owner could not resize the storage.

    Returns:
        An array over the tensor's memory; if there can be none, the tensor itself.

    Raises:
        Unbound: The tensor has no numbers that can be read.
    """
    if tensor.is_meta:
        raise Unbound("there are shapes but no numbers (torch's meta device)")
    if tensor.layout is not torch.strided:
        raise Unbound(f"there are no numbers to read in a tensor of {tensor.device} and {tensor.layout}")
    begin, kind = address(tensor), KINDS.get(tensor.dtype)
    if not begin:
        raise Unbound(SPREAD if is_spread(tensor) else "there are no numbers to read in a wrapper or a freed storage")
    if kind is None or not on_host(tensor) or tensor.is_neg():
        return tensor.detach().resolve_neg()
    shape = tensor.shape
    if tensor.is_contiguous():
        return np.ndarray(shape, kind, memory(begin))
    return np.ndarray(shape, kind, memory(begin), 0, [step * kind.itemsize for step in tensor.stride()])


def along(found: Any, at: Array, axis: int) -> Any:
    """Take positions along an axis; they are not sent to a device as a tensor, for which the host would wait."""
    if isinstance(found, np.ndarray):
        if found.flags.c_contiguous:
            return found.take(at, axis)
        # `take` would first copy the whole of a view
        return np.ascontiguousarray(found[(slice(None),) * axis + (at,)])
    return torch.stack([found.select(axis, int(i)) for i in at], axis)


def take_padded(found: Any, places: Array, axis: int) -> Any:
    """Take positions along an axis, which is replaced by the axes of `places`; beyond its ends there is 0."""
    if isinstance(found, np.ndarray):
        return named_slices.take_padded(found, places, axis)
    size, nothing = found.shape[axis], torch.zeros_like(found.select(axis, 0))
    parts = [found.select(axis, int(i)) if 0 <= i < size else nothing for i in places.flat]
    return torch.stack(parts, axis).reshape(*found.shape[:axis], *places.shape, *found.shape[axis + 1 :])
