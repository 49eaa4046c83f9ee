"""`summarize(tensor)`: the only place that reduces a tensor.

The statistics come from sums over blocks that stay in cache while they are copied to float64 and reduced,
so that each element is fetched from memory once and the result is right to float64 rounding."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

_BLOCK = 1 << 16  # elements; 512 KiB in float64


class Summary(NamedTuple):
    """mean, std (population), min, max and l2 over finite elements; exact counts of NaN, Inf and zeros.

    All None where the tensor's numbers cannot be read (meta, complex, sparse, quantised …)."""

    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    l2: float | None = None
    nan: int | None = None
    inf: int | None = None
    zero: int | None = None


NO_NUMBERS = Summary()
_EMPTY = Summary(nan=0, inf=0, zero=0)


def summarize(tensor: torch.Tensor) -> Summary:
    """Statistics of one tensor of any real dtype, integers and booleans included."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type == "meta":
        return NO_NUMBERS
    if tensor.numel() == 0:
        return _EMPTY
    with torch.no_grad():
        try:
            return _from_blocks(tensor.detach())
        except (RuntimeError, NotImplementedError, TypeError):
            return NO_NUMBERS


class _Sums:
    """Running sums over blocks of float64."""

    def __init__(self, shift: float) -> None:
        self.shift = shift  # subtracted before squaring, so that |mean| >> std costs no digits
        self.count = self.nan = self.inf = self.zero = 0
        self.low, self.high = math.inf, -math.inf
        self.sum = self.squares = self.shifted = self.shifted_squares = 0.0

    def add(self, block: torch.Tensor) -> None:
        low, high = (float(v) for v in torch.aminmax(block))
        if not (math.isfinite(low) and math.isfinite(high)):
            nan = int(torch.isnan(block).sum())
            finite = block[torch.isfinite(block)]
            self.nan += nan
            self.inf += block.numel() - finite.numel() - nan
            if finite.numel() == 0:
                return
            block = finite
            low, high = (float(v) for v in torch.aminmax(block))
        self.count += block.numel()
        self.zero += block.numel() - int(torch.count_nonzero(block)) if low <= 0.0 <= high else 0
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.sum += float(block.sum())
        self.squares += float(torch.dot(block, block))
        block = block - self.shift
        self.shifted += float(block.sum())
        self.shifted_squares += float(torch.dot(block, block))

    def summary(self) -> Summary:
        if self.count == 0:
            return Summary(nan=self.nan, inf=self.inf, zero=0)
        mean = self.shifted / self.count
        variance = max(self.shifted_squares / self.count - mean * mean, 0.0)
        return Summary(
            self.shift + mean,
            math.sqrt(variance),
            self.low,
            self.high,
            math.sqrt(self.squares),
            self.nan,
            self.inf,
            self.zero,
        )


def _from_blocks(tensor: torch.Tensor) -> Summary:
    flat = tensor.reshape(-1) if tensor.is_contiguous() else None
    first = float(tensor[(0,) * tensor.dim()])
    sums = _Sums(first if math.isfinite(first) else 0.0)
    if flat is not None:
        for start in range(0, flat.numel(), _BLOCK):
            sums.add(flat[start : start + _BLOCK].to(torch.float64))
    else:
        for piece in _pieces(tensor):
            sums.add(piece.to(torch.float64).reshape(-1))
    return sums.summary()


def _pieces(tensor: torch.Tensor) -> list[torch.Tensor]:
    """A strided tensor in parts of about a block, along its first dimension that allows it, without a whole copy."""
    if tensor.numel() <= _BLOCK:
        return [tensor]
    axis = max(range(tensor.dim()), key=tensor.size)
    parts = min(tensor.size(axis), -(-tensor.numel() // _BLOCK))
    return [p for part in tensor.chunk(parts, axis) for p in (_pieces(part) if part.size(axis) > 1 else [part])]
