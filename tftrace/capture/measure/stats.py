"""`summarize(tensor)`: statistics of a tensor, block by block, so that each element is fetched from memory once and the
result is right to float64 rounding. It runs for every tensor of a forward pass, so a small tensor is read through its
address: `Tensor.numpy()` takes longer than all of the sums, and leaves a storage that its owner cannot resize.

What most tensors need is compiled by GCC (`_stats.c`): each element is then read once, not for each sum again. Without
it numkong does it, as it does for the rarer dtypes."""

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

PLAIN = (torch.Tensor, torch.nn.Parameter)  # whose memory holds their numbers, and which run no code of others
_BLOCK = 1 << 17  # elements: 512 KiB of float32 stay in a core's own cache from the first reduction to the last
_CANCELLED = 1e-5  # variance / mean square below which the squares alone have lost too many digits
_VANISHING = 1e-275  # a sum of squares below this has lost some of them to underflow
_ZERO = np.zeros((), np.float32)  # compared with an array, quicker than a Python number


_make = Summary._make


def summarize(tensor: torch.Tensor) -> Summary:
    """Statistics of one tensor of any real dtype, integers and booleans included."""
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
                # One comparison finds all that needs more care: NaN and Inf, cancellation, overflow and underflow.
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
    """Of what is not one run of memory, or has no numbers at all."""
    if tensor.dtype not in REAL or not tensor.is_cpu or tensor.is_nested or tensor.layout is not torch.strided:
        return NO_NUMBERS
    if tensor.numel() == 0:
        return EMPTY
    if not host_address(tensor):  # a wrapper's numbers are elsewhere, and those of a freed storage are gone
        return NO_NUMBERS
    dense = in_memory_order(tensor.detach())
    if dense.is_contiguous() and not tensor.is_contiguous():
        return summarize(dense)
    return _in_blocks(partial(_copies, dense), tensor.numel())


def _in_blocks(blocks: Callable[[], Iterable[Any]], size: int) -> Summary:
    """The summary of `size` numbers, all of which each call of `blocks` gives."""
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
        # numkong says None where every element is the dtype's largest.
        least, _, most, _ = minmax(numbers) or (float(np.asarray(numbers)[0]), 0) * 2
        if least <= 0.0 <= most:
            zero += _zeros(numbers)
        low, high = least if least < low else low, most if most > high else high
    if (count := size - nan - inf) == 0:
        return Summary(nan=nan, inf=inf, zero=0)
    scale = 1.0
    if (largest := max(-low, high)) and not _VANISHING < squares < math.inf:  # float64 alone reaches so far
        scale = 2.0 ** min(max(-math.frexp(largest)[1], -1000), 1000)
        total, squares = _moments(blocks, scale, 0.0)
    mean = total / count
    spread = squares - total * mean
    if low == high:
        mean, spread = low * scale, 0.0
    elif not spread > _CANCELLED * squares:
        # The sum of what should add up to nothing takes the rounding of the mean out of the spread.
        rest, spread = _moments(blocks, scale, mean)
        spread = max(spread - rest * rest / count, 0.0)
    std, l2 = math.sqrt(spread / count), math.sqrt(squares)
    return Summary(mean / scale, std / scale, low, high, l2 / scale, nan, inf, zero)


def _moments(blocks: Callable[[], Iterable[Any]], scale: float, centre: float) -> tuple[float, float]:
    """Sum and sum of squares of each finite x * `scale` - `centre`: a second pass, for the few tensors that need one.
    In float32 each difference is right to its last digit, and near the centre it is exact."""
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
    """The numbers of a contiguous tensor, a block at a time."""
    for at in range(0, size, _BLOCK):
        yield _numbers(address + at * width, min(_BLOCK, size - at), *kind)


def _copies(tensor: torch.Tensor) -> Iterator[Any]:
    """The numbers of any tensor, each block to be used before the next one is asked for."""
    for block in flat_parts(tensor, _BLOCK):
        block = (block if block.dtype in KINDS else block.to(torch.float32)).contiguous()
        if not (address := host_address(block)):
            raise ValueError("a subclass makes copies that are wrappers")
        yield _numbers(address, block.numel(), *KINDS[block.dtype])


def _numbers(address: int, size: int, name: str, wider: str | None) -> Any:
    """Elements in memory, in a type that holds each of them: only for as long as the tensor that owns them lives."""
    numbers = from_pointer(address, size, name)
    if wider is None:
        return numbers
    if name in ("int64", "uint64"):  # NumPy takes a tenth of numkong's time
        return np.asarray(numbers).astype(np.float64)
    return astype(numbers, wider)


class _Room(threading.local):
    """A thread's room for comparisons: an array of its own for each would cost more than what is done with it."""

    def __init__(self) -> None:
        self.zero = np.empty(_BLOCK, np.bool_)


_room = _Room()


def _zeros(numbers: Any) -> int:
    array = np.asarray(numbers)
    return sum_of(np.equal(array, _ZERO, _room.zero[: len(array)]), dtype="uint8")  # type: ignore[no-any-return]
