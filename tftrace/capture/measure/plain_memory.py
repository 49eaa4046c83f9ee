"""Whether a tensor's numbers lie where its address says: nothing in this package reads an address that was not had here
(or from `_told.h`, which is the same in C).

`Tensor.data_ptr()` is no more than the begin of the storage plus an offset. A wrapper (a DTensor, a fake tensor) and a
freed storage begin at 0, so that of a view of one the offset alone is left: not 0, and nobody's memory."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, cast

import torch


def address(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers begin, in the memory of its own device; 0 where it has none: its storage is not there,
    or does not hold all that the tensor says."""
    try:
        storage = tensor.untyped_storage()
        first: int = 0 if storage.device.type == "meta" else storage.data_ptr()  # torch warns who asks a fake one
        if first and first <= (begin := tensor.data_ptr()) and begin + _span(tensor) <= first + storage.nbytes():
            return begin
    except Exception:  # it has no storage at all; and a subclass may raise anything
        pass
    return 0


def host_address(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers begin in the host's memory; 0 where they are not to be read there."""
    return address(tensor) if tensor.is_cpu and tensor.layout is torch.strided else 0


def held(tensor: torch.Tensor) -> torch.Tensor:
    """Of a tensor that is spread over processes (a DTensor) the part that this one holds; any other as it is."""
    if is_spread(tensor):
        with contextlib.suppress(Exception), torch.no_grad():  # a part of a kind that cannot be viewed
            tensor = cast(Any, tensor).to_local()
    return tensor


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether each of several processes holds a part of this tensor."""
    kind: Any = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", None)  # not imported: there is none
    return kind is not None and isinstance(tensor, kind)


def _span(tensor: torch.Tensor) -> int:
    """Bytes from the first element to the end of the last one in memory."""
    if tensor.is_contiguous():
        return tensor.nbytes
    steps = [(size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True)]
    return (1 + sum(steps)) * tensor.element_size()
