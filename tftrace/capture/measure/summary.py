"""The statistics of a tensor, the dtypes that have them, and how a tensor is read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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

# dtype -> its name in numkong; and a type that holds all of its numbers, if numkong would not add them up in float64
KINDS: dict[torch.dtype, tuple[str, str | None]] = {
    torch.float32: ("float32", None),
    torch.float64: ("float64", None),
    torch.float16: ("float16", "float32"),
    torch.bfloat16: ("bf16", "float32"),
    torch.float8_e4m3fn: ("e4m3", "float32"),
    torch.float8_e5m2: ("e5m2", "float32"),
    torch.bool: ("uint8", "float32"),
    torch.uint8: ("uint8", "float32"),
    torch.int8: ("int8", "float32"),
    torch.uint16: ("uint16", "float32"),
    torch.int16: ("int16", "float32"),
    torch.uint32: ("uint32", "float64"),
    torch.int32: ("int32", "float64"),
    torch.uint64: ("uint64", "float64"),
    torch.int64: ("int64", "float64"),
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
