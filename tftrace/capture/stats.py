"""`summarize(tensor)`: the only place that reduces a tensor, block by block, so that each element is fetched from
memory once and the result is right to float64 rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

_SMALL, _BLOCK = 1 << 13, 1 << 16  # elements: where calls cost more than work; 512 KiB in float64
_DEVICE_BLOCK = 1 << 22  # on a device what counts is how seldom the host waits for it
_CANCELLED = 1e-5  # variance / mean square below which the squares alone have lost too many digits
_SQUARABLE = 1e-140, 1e140  # the square of what lies between is neither 0 nor infinite, nor is a sum of such squares


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
_EMPTY = Summary(nan=0, inf=0, zero=0)


def summarize(tensor: torch.Tensor) -> Summary:
    """Statistics of one tensor of any real dtype, integers and booleans included."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type == "meta":
        return NO_NUMBERS
    if tensor.numel() == 0:
        return _EMPTY
    try:
        with np.errstate(all="ignore"):
            return _summarize(tensor.detach().resolve_neg())
    except (RuntimeError, TypeError):
        return NO_NUMBERS


def _summarize(tensor: torch.Tensor) -> Summary:
    sums = _Sums(tensor)
    largest = max(-sums.low, sums.high)
    if tensor.dtype is torch.float64 and sums.count and largest and not _SQUARABLE[0] < largest < _SQUARABLE[1]:
        sums = _Sums(tensor, min(max(-math.frexp(largest)[1], -1000), 1000))
    return sums.summary()


class _Sums:
    """Sums over the blocks of a tensor, whose elements are first multiplied by 2 ** `shift`."""

    def __init__(self, tensor: torch.Tensor, shift: int = 0) -> None:
        self.shift = shift
        self.count = self.nan = self.inf = self.zero = 0
        self.low, self.high = math.inf, -math.inf
        self.mean = self.squares = self.spread = 0.0  # spread: the sum of (x - mean)²
        reduce, size = (_reduce, _BLOCK) if tensor.device.type == "cpu" else (_reduce_on_device, _DEVICE_BLOCK)
        for block in _blocks(tensor, size):
            self._add(*reduce(block, 2.0**shift), block)

    def _add(self, low: float, high: float, zero: int, total: float, squares: float, spread: float, block: Any) -> None:
        if not (math.isfinite(low) and math.isfinite(high)):
            wide = block.cpu().to(torch.float64).numpy()
            nan, finite = np.count_nonzero(wide != wide), wide[np.isfinite(wide)]
            self.nan += nan
            self.inf += len(wide) - len(finite) - nan
            if len(finite):
                block = torch.from_numpy(finite)
                self._add(*_reduce(block, 2.0**self.shift), block)
            return
        count, mean = block.numel(), total / block.numel()
        apart = mean - self.mean
        self.count += count
        self.zero += zero
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.squares += squares
        # Chan, Golub and LeVeque's way to put two means and spreads together: nothing cancels.
        self.mean += apart * count / self.count
        self.spread += spread + apart * apart * (self.count - count) * count / self.count

    def summary(self) -> Summary:
        if self.count == 0:
            return Summary(nan=self.nan, inf=self.inf, zero=0)
        std, l2 = math.sqrt(self.spread / self.count), math.sqrt(self.squares)
        mean, std, l2 = (float(np.ldexp(v, -self.shift)) for v in (self.mean, std, l2))
        return Summary(mean, std, self.low, self.high, l2, self.nan, self.inf, self.zero)


def _reduce(block: torch.Tensor, scale: float) -> tuple[float, float, int, float, float, float]:
    """Least and largest element, zeros, and of the scaled elements sum, sum of squares and spread."""
    single = block.dtype is torch.float32
    wide: Any  # NumPy is quicker to call, torch quicker with many elements; both have sum, dot and -
    if single and len(block) <= _SMALL:
        numbers = block.numpy()
        wide = numbers.astype(np.float64)
    else:
        wide = block.to(torch.float64)
        numbers = (block if single else wide).numpy()
    low, high = numbers.min().item(), numbers.max().item()  # NumPy finds these and the zeros at twice torch's speed
    zero = int(np.count_nonzero(numbers == 0)) if low <= 0.0 <= high else 0
    wide = wide if scale == 1.0 else wide * scale
    total, squares = wide.sum().item(), wide.dot(wide).item()
    mean = total / len(numbers)
    spread = squares - total * mean
    if not spread > _CANCELLED * squares:
        wide = wide - mean
        spread = wide.dot(wide).item()
    return low, high, zero, total, squares, spread


def _reduce_on_device(block: torch.Tensor, scale: float) -> tuple[float, float, int, float, float, float]:
    """The same with the host waiting for the device once."""
    wide = block.to(torch.float64)
    parts = [*torch.aminmax(wide), (wide == 0).sum().to(torch.float64)]
    wide = wide * scale
    centred = wide - wide.mean()
    parts += [wide.sum(), torch.dot(wide, wide), torch.dot(centred, centred)]
    low, high, zero, total, squares, spread = torch.stack(parts).tolist()
    return low, high, int(zero), total, squares, spread


def _blocks(tensor: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """A tensor in flat parts of at most `size` elements; of a strided one only a part at a time is copied."""
    if tensor.numel() <= size:
        yield tensor.reshape(-1)
        return
    tensor = tensor.view(-1) if tensor.is_contiguous() else tensor
    axis = max(range(tensor.dim()), key=tensor.stride)  # the outermost in memory
    length = tensor.size(axis)
    step = max(size * length // tensor.numel(), 1)
    for at in range(0, length, step):
        part = tensor.narrow(axis, at, min(step, length - at))
        yield from _blocks(part.squeeze(axis) if step == 1 else part, size)
