"""What the statistics of a tensor are, of which dtypes they can be had, and a tensor's numbers in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch


class Summary(NamedTuple):
    """mean, std (population), min, max and l2 over finite elements; exact counts of NaN, Inf and zeros; all None
    where the tensor's numbers cannot be read (meta, complex, sparse, quantised …)."""

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

# dtype -> its name in numkong, and where moments of that are not float64 sums, the type that holds each of its numbers
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
    """The axes sorted from the outermost in memory to the innermost: statistics do not depend on their order."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def flat_parts(tensor: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """A tensor in flat parts of at most `size` elements; of a strided one only a part at a time is copied."""
    if tensor.numel() <= size:
        yield tensor.reshape(-1).resolve_neg()
        return
    tensor = tensor.view(-1) if tensor.is_contiguous() else in_memory_order(tensor)
    length = tensor.size(0)
    step = max(size * length // tensor.numel(), 1)
    for at in range(0, length, step):
        part = tensor.narrow(0, at, min(step, length - at))
        yield from flat_parts(part.squeeze(0) if step == 1 else part, size)
