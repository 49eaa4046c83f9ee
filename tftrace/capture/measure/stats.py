"""Computes the statistics of a tensor on the host, right to float64 rounding.

A tensor is read in blocks, so that each element is fetched from memory only once. Since this runs for every tensor of a
forward pass, small tensors are read through their address: `Tensor.numpy()` takes longer than all of the sums, and its
owner could not resize the storage afterwards.

For most tensors this is compiled by GCC (`_stats.c`), so that each element is read once rather than once for each sum.
NumPy does the rarer dtypes, and all of it where there is no compiler."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from .plain_memory import host_address, memory
from .summary import EMPTY, KINDS, NO_NUMBERS, REAL, Summary, flat_parts, in_memory_order

try:
    from . import _stats as compiled
except ImportError:  # installed where there is no GCC, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

PLAIN = (torch.Tensor, torch.nn.Parameter)  # these run nobody else's code, and their memory holds their numbers
_BLOCK = 1 << 17  # elements: 512 KiB of float32 stay in a core's own cache from the first reduction to the last
_CANCELLED = 1e-5  # variance / mean square below which the squares alone have lost too many digits
_VANISHING = 1e-275  # below this, a sum of squares has lost some of them to underflow
_make = Summary._make


def plain_summary(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Do what `summarize` does, as a plain tuple, which the garbage collector skips; as this runs for every tensor,
    most of them go straight to what is compiled."""
    with suppress(RuntimeError, NotImplementedError):
        if compiled and type(tensor) in PLAIN and not tensor.is_neg():
            found: tuple[Any, ...] | None = compiled.summary(tensor)
            if found is not None:
                return found
    return tuple(summarize(tensor))


def summarize(tensor: torch.Tensor) -> Summary:
    """Compute the statistics of a tensor on the host.

    Args:
        tensor: A tensor of any real dtype, including integers and booleans.

    Returns:
        Its statistics; `NO_NUMBERS` for a tensor whose numbers cannot be read.
    """
    try:
        if compiled and type(tensor) in PLAIN and not tensor.is_neg():
            found = compiled.summary(tensor)
            if found is not None:
                return _make(found)
        kind = tensor.dtype
        alone = kind in KINDS and tensor.is_contiguous() and not tensor.is_neg() and not tensor.is_nested
        with np.errstate(all="ignore"):
            if alone and (address := host_address(tensor)):
                return _of_memory(address, tensor.numel(), tensor.element_size(), kind)
            return _of_another_kind(tensor)
    except Exception:  # a subclass may raise anything, and no tensor is worth the forward pass that holds it
        return NO_NUMBERS


def _of_memory(address: int, size: int, width: int, kind: torch.dtype) -> Summary:
    """Summarize `size` numbers that lie side by side from an address on."""
    if size <= _BLOCK:
        numbers = _numbers(address, size, kind)
        total, squares = _sums(numbers)
        spread = squares - total * total / size
        # One comparison finds everything that needs more care: NaN and Inf, cancellation, overflow, underflow.
        if spread > _CANCELLED * squares > _VANISHING:
            low, high = _ends(numbers)
            zero = _zeros(numbers) if low <= 0.0 <= high else 0
            std, l2 = math.sqrt(spread / size), math.sqrt(squares)
            return _make((total / size, std, low, high, l2, 0, 0, zero))
    return _in_blocks(partial(_run, address, size, width, kind), size)


def _of_another_kind(tensor: torch.Tensor) -> Summary:
    """Summarize a tensor that is not contiguous, or has no numbers to read."""
    if tensor.dtype not in REAL or not tensor.is_cpu or tensor.is_nested or tensor.layout is not torch.strided:
        return NO_NUMBERS
    if tensor.numel() == 0:
        return EMPTY
    if not host_address(tensor):  # the numbers of a wrapper are elsewhere; those of a freed storage are gone
        return NO_NUMBERS
    dense = in_memory_order(tensor.detach())
    if dense.is_contiguous() and not tensor.is_contiguous():
        return summarize(dense)
    return _in_blocks(partial(_copies, dense), tensor.numel())


def _in_blocks(blocks: Callable[[], Iterable[Any]], size: int) -> Summary:
    """Summarize `size` numbers; each call of `blocks` yields all of them."""
    nan = inf = zero = 0
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    for numbers in blocks():
        part, square = _sums(numbers)
        if not square < math.inf:
            every = numbers
            numbers = every[np.isfinite(every)]
            unknown = int(np.isnan(every).sum())
            nan += unknown
            inf += every.size - numbers.size - unknown
            if numbers.size == 0:
                continue
            part, square = _sums(numbers)
        total += part
        squares += square
        least, most = _ends(numbers)
        if least <= 0.0 <= most:
            zero += _zeros(numbers)
        low, high = least if least < low else low, most if most > high else high
    if (count := size - nan - inf) == 0:
        return Summary(nan=nan, inf=inf, zero=0)
    scale = 1.0
    if (largest := max(-low, high)) and not _VANISHING < squares < math.inf:  # only float64 reaches so far
        scale = 2.0 ** min(max(-math.frexp(largest)[1], -1000), 1000)
        total, squares = _moments(blocks, scale, 0.0)
    mean = total / count
    spread = squares - total * mean
    if low == high:
        mean, spread = low * scale, 0.0
    elif not spread > _CANCELLED * squares:
        # Differences from the mean should add up to 0; their sum corrects the spread for the rounding of the mean.
        rest, spread = _moments(blocks, scale, mean)
        spread = max(spread - rest * rest / count, 0.0)
    std, l2 = math.sqrt(spread / count), math.sqrt(squares)
    return Summary(mean / scale, std / scale, low, high, l2 / scale, nan, inf, zero)


def _moments(blocks: Callable[[], Iterable[Any]], scale: float, centre: float) -> tuple[float, float]:
    """The sum and the sum of squares of x * `scale` - `centre` over all finite x.

    This is a second pass, for the few tensors that need one. In float32 each difference is right to its last digit, and
    near the centre it is exact.
    """
    total = squares = 0.0
    for numbers in blocks():
        finite = np.isfinite(numbers)
        every = numbers if finite.all() else numbers[finite]
        if every.dtype.kind != "f" or every.dtype.itemsize == 2:
            every = every.astype(np.float64)
        if every.size:
            part, square = _sums((every * scale if scale != 1.0 else every) - centre)
            total += part
            squares += square
    return total, squares


def _run(address: int, size: int, width: int, kind: torch.dtype) -> Iterator[Any]:
    """Yield the numbers of a contiguous tensor in blocks."""
    for at in range(0, size, _BLOCK):
        yield _numbers(address + at * width, min(_BLOCK, size - at), kind)


def _copies(tensor: torch.Tensor) -> Iterator[Any]:
    """Yield the numbers of any tensor in blocks; each block is valid only until the next one."""
    for block in flat_parts(tensor, _BLOCK):
        block = (block if block.dtype in KINDS else block.to(torch.float32)).contiguous()
        if not (address := host_address(block)):
            raise ValueError("a subclass makes copies that are wrappers")
        yield _numbers(address, block.numel(), block.dtype)


def _numbers(address: int, size: int, dtype: torch.dtype) -> Any:
    """Elements in memory as an array, valid only while their tensor lives."""
    numbers: Any = np.ndarray(size, KINDS[dtype], memory(address))
    if dtype is torch.bfloat16:  # the upper half of a float32
        return np.left_shift(numbers, 16, dtype=np.uint32).view(np.float32)
    return numbers


class _Room(threading.local):
    """Arrays that each thread reuses: new ones each time would cost more than what is computed in them."""

    def __init__(self) -> None:
        self.zero, self.wide, self.square = np.empty(_BLOCK, np.bool_), np.empty(_BLOCK), np.empty(_BLOCK)


_room = _Room()


def _sums(numbers: Any) -> tuple[float, float]:
    """The sum and the sum of squares, in float64."""
    wide, square = _room.wide[: len(numbers)], _room.square[: len(numbers)]
    np.copyto(wide, numbers, "unsafe")
    return float(np.add.reduce(wide)), float(np.add.reduce(np.multiply(wide, wide, square)))


def _ends(numbers: Any) -> tuple[float, float]:
    """The smallest and the largest."""
    return float(np.minimum.reduce(numbers)), float(np.maximum.reduce(numbers))


def _zeros(numbers: Any) -> int:
    return int(np.count_nonzero(np.equal(numbers, 0, _room.zero[: len(numbers)])))
