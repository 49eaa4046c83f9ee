"""How programs share the numbers of a tensor: what a launch is told, for all tensors of one shape and strides."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from ....trace.prints import LANES, axes

_SHARE = 1 << 14  # numbers that a program takes at least, if there are so many
_PROGRAMS = 256  # that a tensor is shared among, so that its rows are few
BLOCK = 1024  # numbers that a program of `statistics` takes in at once
_TOGETHER, _FEW = 16, 64  # tokens that a program takes in at once; up to so many, each has a program of its own
_LONG, _SHORT = 8, 16  # loads under way at once, of sixteen numbers of these many tokens or of one
_MOST = 1 << 31  # programs of a launch

Shape = tuple[int, ...]


class Flat(NamedTuple):
    """Statistics alone: how many programs, and what each is told."""

    programs: int
    numbers: tuple[int, ...]  # from `size` to `step_d` of the kernel
    strided: bool


class Part(NamedTuple):
    """One print: how many programs take it, and what each is told."""

    axis: int
    programs: int
    segments: int
    width: int
    lanes: int  # of all tokens
    numbers: tuple[int, ...]  # from `every` to `each` of the kernel
    together: int
    unrolled: int


@lru_cache(maxsize=4096)
def flat(shape: Shape, stride: Shape) -> Flat | None:
    """The plan for statistics alone; None for a view of more axes than the kernel walks."""
    size = math.prod(shape)
    runs = _runs(shape, stride)
    if len(runs) > 4:
        return None
    strided = len(runs) > 1 or runs[0][1] != 1
    (_, step_a), (b, step_b), (c, step_c), (d, step_d) = [(1, 0)] * (4 - len(runs)) + runs
    share = -(-max(_SHARE, -(-size // _PROGRAMS)) // BLOCK) * BLOCK
    return Flat(-(-size // share), (size, share, b, c, d, step_a, step_b, step_c, step_d), strided)


@lru_cache(maxsize=4096)
def parts(shape: Shape, stride: Shape) -> tuple[Part, ...]:
    """The plans for the prints of a tensor; none if it has no prints."""
    return tuple(_part(shape, stride, axis) for axis in axes(shape))


def _part(shape: Shape, stride: Shape, axis: int) -> Part:
    rows, row_step = (shape[0], stride[0]) if axis else (1, 0)
    own = [(size, step) for at, (size, step) in enumerate(zip(shape, stride, strict=True)) if at and at != axis]
    own = [(1, 0)] * (2 - len(own)) + own
    (outer, outer_step), (inner, inner_step) = own
    if inner_step == 1 and outer_step == inner:  # they are one run, as in `_prints.c`
        outer, inner = 1, outer * inner
    every, width = rows * shape[axis], outer * inner
    longest = -(-max(_SHARE, -(-width // _PROGRAMS)) // 16) * 16
    runs, length = (max(longest // inner, 1), inner) if outer > 1 else (1, min(inner, longest))
    segments = -(-outer // runs) * -(-inner // length)
    together = 1 if every <= _FEW else _TOGETHER
    blocks = -(-every // together)
    each = -(-blocks * segments // _PROGRAMS)
    numbers = (
        *(every, shape[axis], outer, inner, row_step, stride[axis], outer_step, inner_step),
        *(runs, length, segments, each),
    )
    unrolled = _SHORT if together == 1 else _LONG
    return Part(axis, -(-blocks // each) * segments, segments, width, every * LANES, numbers, together, unrolled)


def _runs(shape: Shape, stride: Shape) -> list[tuple[int, int]]:
    """Sizes and steps of the axes in the order of memory, those that are one run taken together; at least one."""
    found: list[tuple[int, int]] = []
    for step, size in sorted(((t, s) for s, t in zip(shape, stride, strict=True) if s != 1), reverse=True):
        if found and found[-1][1] == step * size:
            found[-1] = found[-1][0] * size, step
        else:
            found.append((size, step))
    return found or [(1, 1)]
