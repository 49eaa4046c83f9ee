"""Computes the statistics of a tensor on the host, right to float64 rounding.

A tensor is read in blocks, so that each element is fetched from memory only once. Since this runs for every tensor of a
forward pass, small tensors are read through their address: `Tensor.numpy()` takes longer than all of the sums, and its
owner could not resize the storage afterwards.

For most tensors this is compiled by GCC (`_stats.c`), so that each element is read once rather than once for each sum.
numkong does the rarer dtypes, and all of it where there is no compiler."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numkong import astype, from_pointer, minmax, moments
from numkong import sum as sum_of

from .plain_memory import host_address
from .summary import EMPTY, KINDS, NO_NUMBERS, REAL, Summary, flat_parts, in_memory_order

try:
    from . import _stats as compiled
except ImportError:  # installed where there is no GCC, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

PLAIN = (torch.Tensor, torch.nn.Parameter)  # these run nobody else's code, and their memory holds their numbers
_BLOCK = 1 << 17  # elements: 512 KiB of float32 stay in a core's own cache from the first reduction to the last
_CANCELLED = 1e-5  # variance / mean square below which the squares alone have lost too many digits
_VANISHING = 1e-275  # below this, a sum of squares has lost some of them to underflow
_ZERO = np.zeros((), np.float32)  # comparing with an array is quicker than with a Python number


_make = Summary._make


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
        kind = KINDS.get(tensor.dtype)
        alone = kind and tensor.is_contiguous() and not tensor.is_neg() and not tensor.is_nested
        if kind and alone and (address := host_address(tensor)):
            size = tensor.numel()
            if size <= _BLOCK:
                numbers = _numbers(address, size, *kind)
                total, squares = moments(numbers)
                spread = squares - total * total / size
                # One comparison finds everything that needs more care: NaN and Inf, cancellation, overflow, underflow.
                if spread > _CANCELLED * squares > _VANISHING:
                    low, _, high, _ = minmax(numbers)
                    zero = _zeros(numbers) if low <= 0.0 <= high else 0
                    std, l2 = math.sqrt(spread / size), math.sqrt(squares)
                    return _make((total / size, std, low, high, l2, 0, 0, zero))
            return _in_blocks(partial(_run, address, size, tensor.element_size(), kind), size)
        return _of_another_kind(tensor)
    except Exception:  # a subclass may raise anything, and no tensor is worth the forward pass that holds it
        return NO_NUMBERS


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
        part, square = moments(numbers)
        if not square < math.inf:
            every = np.asarray(numbers)
            numbers = every[np.isfinite(every)]
            unknown = int(np.isnan(every).sum())
            nan += unknown
            inf += every.size - numbers.size - unknown
            if numbers.size == 0:
                continue
            part, square = moments(numbers)
        total += part
        squares += square
        # numkong returns None if every element is the largest number of the dtype.
        least, _, most, _ = minmax(numbers) or (float(np.asarray(numbers)[0]), 0) * 2
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
        every = np.asarray(numbers)
        finite = np.isfinite(every)
        every = every if finite.all() else every[finite]
        if every.size:
            part, square = moments((every * scale if scale != 1.0 else every) - centre)
            total += part
            squares += square
    return total, squares


def _run(address: int, size: int, width: int, kind: tuple[str, str | None]) -> Iterator[Any]:
    """Yield the numbers of a contiguous tensor in blocks."""
    for at in range(0, size, _BLOCK):
        yield _numbers(address + at * width, min(_BLOCK, size - at), *kind)


def _copies(tensor: torch.Tensor) -> Iterator[Any]:
    """Yield the numbers of any tensor in blocks; each block is valid only until the next one."""
    for block in flat_parts(tensor, _BLOCK):
        block = (block if block.dtype in KINDS else block.to(torch.float32)).contiguous()
        if not (address := host_address(block)):
            raise ValueError("a subclass makes copies that are wrappers")
        yield _numbers(address, block.numel(), *KINDS[block.dtype])


def _numbers(address: int, size: int, name: str, wider: str | None) -> Any:
    """Elements in memory as an array of a type that can hold all of them, valid only while their tensor lives."""
    numbers = from_pointer(address, size, name)
    if wider is None:
        return numbers
    if name in ("int64", "uint64"):  # NumPy takes a tenth of numkong's time
        return np.asarray(numbers).astype(np.float64)
    return astype(numbers, wider)


class _Room(threading.local):
    """An array that each thread reuses for comparisons: a new one each time would cost more than the comparison."""

    def __init__(self) -> None:
        self.zero = np.empty(_BLOCK, np.bool_)


_room = _Room()


def _zeros(numbers: Any) -> int:
    array = np.asarray(numbers)
    return sum_of(np.equal(array, _ZERO, _room.zero[: len(array)]), dtype="uint8")  # type: ignore[no-any-return]
