"""Finds the address of a tensor's numbers, if there are numbers at it.

No address is read in this package that does not come from here, or from `_dlpack.h`, which does the same in C.

`Tensor.data_ptr()` is just the beginning of the storage plus an offset. The storage of a wrapper (a DTensor, a fake
tensor) and a freed storage begin at 0; for a view of one, only the offset is left: not 0, but nobody's memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Any, cast

import torch

_Everything = ctypes.c_uint8 * sys.maxsize  # one type for all sizes: ctypes would make a class for each


def memory(address: int) -> Any:
    """The memory from an address on, as a buffer for `np.ndarray`, which must say how much of it there is."""
    return _Everything.from_address(address)


def address(tensor: torch.Tensor) -> int:
    """The address of a tensor's numbers in the memory of its device.

    It is 0 if there are none: the tensor has no storage, or the storage is smaller than the tensor claims.
    """
    try:
        storage = tensor.untyped_storage()
        first: int = 0 if storage.device.type == "meta" else storage.data_ptr()  # torch warns for fake tensors
        if first and first <= (begin := tensor.data_ptr()) and begin + _span(tensor) <= first + storage.nbytes():
            return begin
    except Exception:  # the tensor has no storage; and a subclass may raise anything
        pass
    return 0


def host_address(tensor: torch.Tensor) -> int:
    """The address of a tensor's numbers in the memory of the host; 0 if they cannot be read there."""
    return address(tensor) if tensor.is_cpu and tensor.layout is torch.strided else 0


def held(tensor: torch.Tensor) -> torch.Tensor:
    """The part that this process holds of a tensor spread over several (a DTensor); any other tensor unchanged."""
    if is_spread(tensor):
        with contextlib.suppress(Exception), torch.no_grad():  # the part may be of a kind that cannot be viewed
            tensor = cast(Any, tensor).to_local()
    return tensor


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether a tensor is spread over several processes (a DTensor)."""
    kind: Any = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", None)  # not imported: no such tensor
    return kind is not None and isinstance(tensor, kind)


def _span(tensor: torch.Tensor) -> int:
    """The number of bytes from the first element in memory to the end of the last."""
    if tensor.is_contiguous():
        return tensor.nbytes
    steps = [(size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)]
    return (1 + sum(steps)) * tensor.element_size()
