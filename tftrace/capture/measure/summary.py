"""The statistics of a tensor, the dtypes that have them, and how a tensor is read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch


class Summary(NamedTuple):
    """The statistics of a tensor.

    All are None if the numbers of the tensor cannot be read (meta, complex, sparse, quantised …).

    Attributes:
        mean: Over finite elements, like all up to `l2`; these are None if there are no finite elements.
        std: The standard deviation of the population (divided by the number of elements, not by one less).
        min: The smallest element.
        max: The largest element.
        l2: The Euclidean norm.
        nan: The exact number of NaN.
        inf: The exact number of +Inf and -Inf.
        zero: The exact number of zeros.
    """

    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    l2: float | None = None
    nan: int | None = None
    inf: int | None = None
    zero: int | None = None


NO_NUMBERS = Summary()
EMPTY = Summary(nan=0, inf=0, zero=0)

KINDS: dict[torch.dtype, Any] = {  # dtypes that are read in place, and what NumPy reads; of bfloat16 it is the bits
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.float16: np.float16,
    torch.bfloat16: np.uint16,
    torch.bool: np.uint8,
    torch.uint8: np.uint8,
    torch.int8: np.int8,
    torch.uint16: np.uint16,
    torch.int16: np.int16,
    torch.uint32: np.uint32,
    torch.int32: np.int32,
    torch.uint64: np.uint64,
    torch.int64: np.int64,
}
_BY_TORCH = {
    dtype for name, dtype in vars(torch).items() if name.startswith("float8_") and isinstance(dtype, torch.dtype)
} - KINDS.keys()
REAL = KINDS.keys() | _BY_TORCH


def in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """Sort the axes from the outermost in memory to the innermost; statistics do not depend on their order."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def flat_parts(tensor: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Yield a tensor in flat parts of at most `size` elements; of a strided tensor, one part at a time is copied."""
    if tensor.numel() <= size:
        yield tensor.reshape(-1).resolve_neg()
        return
    tensor = tensor.view(-1) if tensor.is_contiguous() else in_memory_order(tensor)
    length = tensor.size(0)
    step = max(size * length // tensor.numel(), 1)
    for at in range(0, length, step):
        part = tensor.narrow(0, at, min(step, length - at))
        yield from flat_parts(part.squeeze(0) if step == 1 else part, size)
