"""The kernels: everything that is measured of a tensor, each number read once where it can be.

This module needs Triton, and is imported when a tensor on an accelerator is first measured (`launch.py`).

Numbers of up to 32 bits are added in float64: products of two float32 are exact there, no square overflows, and a sum
of 2^24 of them is right to its last digits. The variance comes of the squares, or, where these cancel, of a second pass
over the program's own share about its own mean, as on the host (`stats.py`). Each program writes one row; `partials.py`
merges them on the host.

The sums of a print are added in the order of `_prints.c`: sixteen side by side, which become eight lanes at the end of
each run. So both give the same bits."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

from .partials import WIDTH as _WIDTH

_ROW = tl.constexpr(_WIDTH)
_CANCELLED = tl.constexpr(1e-5)  # as in `stats.py`
_INF = tl.constexpr(float("inf"))
_SIDE = tl.constexpr(16)  # as in `_prints.c`


@triton.jit
def _taken(x, there, known, nan, zero, low, high, total, squares):
    """Take numbers in, of which some are there."""
    finite = there & (tl.abs(x) < _INF)
    known += finite.to(tl.int32)
    nan += (there & (x != x)).to(tl.int32)
    zero += (there & (x == 0)).to(tl.int32)
    low = tl.minimum(low, tl.where(finite, x, _INF))
    high = tl.maximum(high, tl.where(finite, x, -_INF))
    number = tl.where(finite, x, 0).to(tl.float64)
    return known, nan, zero, low, high, total + number, squares + number * number


@triton.jit
def _apart(x, there, mean, rest, spread):
    """Take the differences from a mean in; they should add up to 0, and their sum corrects for the mean's rounding."""
    finite = there & (tl.abs(x) < _INF)
    away = tl.where(finite, x.to(tl.float64) - mean, 0.0)
    return rest + away, spread + away * away


@triton.jit
def _written(row, size, known, nan, zero, low, high, total, squares, spread):
    """Write a row, in the order of `partials.py`."""
    tl.store(row, known.to(tl.float64))
    tl.store(row + 1, nan.to(tl.float64))
    tl.store(row + 2, (size - known - nan).to(tl.float64))
    tl.store(row + 3, zero.to(tl.float64))
    tl.store(row + 4, low.to(tl.float64))
    tl.store(row + 5, high.to(tl.float64))
    tl.store(row + 6, total)
    tl.store(row + 7, squares)
    tl.store(row + 8, spread)


@triton.jit
def _place(at, size_b, size_c, size_d, step_a, step_b, step_c, step_d, STRIDED: tl.constexpr):
    """Where the numbers lie that come in this order of a tensor's four axes."""
    if not STRIDED:
        return at
    d, rest = at % size_d, at // size_d
    c, rest = rest % size_c, rest // size_c
    return (rest // size_b) * step_a + (rest % size_b) * step_b + c * step_c + d * step_d


@triton.jit(
    do_not_specialize=["first", "size", "share", "size_b", "size_c", "size_d", "step_a", "step_b", "step_c", "step_d"]
)
def statistics(
    data, rows, first, size, share,
    size_b, size_c, size_d, step_a, step_b, step_c, step_d,
    KIND: tl.constexpr, STRIDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The statistics of `size` numbers, in `rows` from `first` on; each program takes a share, a multiple of BLOCK."""
    begin = tl.program_id(0).to(tl.int64) * share
    end = tl.minimum(begin + share, size)
    within = tl.arange(0, BLOCK)
    known, nan, zero = (tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32))
    low, high = tl.full([BLOCK], _INF, KIND), tl.full([BLOCK], -_INF, KIND)
    total, squares = tl.zeros([BLOCK], tl.float64), tl.zeros([BLOCK], tl.float64)
    for start in range(begin, end, BLOCK):
        at = start + within
        there = at < end
        place = _place(at, size_b, size_c, size_d, step_a, step_b, step_c, step_d, STRIDED)
        x = tl.load(data + place, mask=there, other=0).to(KIND)
        known, nan, zero, low, high, total, squares = _taken(
            x, there, known, nan, zero, low, high, total, squares
        )  # fmt: skip
    count, sums, square = tl.sum(known.to(tl.int64)), tl.sum(total), tl.sum(squares)
    least, most = tl.min(low), tl.max(high)
    mean = sums / tl.maximum(count, 1).to(tl.float64)
    apart = square - sums * mean
    if (count > 0) & (least != most) & (apart <= _CANCELLED * square):
        rest, spread = tl.zeros([BLOCK], tl.float64), tl.zeros([BLOCK], tl.float64)
        for start in range(begin, end, BLOCK):
            at = start + within
            there = at < end
            place = _place(at, size_b, size_c, size_d, step_a, step_b, step_c, step_d, STRIDED)
            x = tl.load(data + place, mask=there, other=0).to(KIND)
            rest, spread = _apart(x, there, mean, rest, spread)
        left = tl.sum(rest)
        apart = tl.sum(spread) - left * left / count.to(tl.float64)
    row = rows + first + tl.program_id(0).to(tl.int64) * _ROW
    nans, zeros = tl.sum(nan.to(tl.int64)), tl.sum(zero.to(tl.int64))
    _written(row, end - begin, count, nans, zeros, least, most, sums, square, apart)


@triton.jit
def _tokens(
    data, weights, rows, prints, program,
    every, tokens, outer, inner, row_step, token_step, outer_step, inner_step,
    runs, length, segments, each,
    KIND: tl.constexpr, STATISTICS: tl.constexpr, SPLIT: tl.constexpr, TOKENS: tl.constexpr, UNROLLED: tl.constexpr,
):  # fmt: skip
    """The print of some tokens, and the statistics of what was read for it.

    Args:
        program: Which program this is of those that take this print.
        every: How many tokens there are in all rows; `tokens` in each.
        outer, inner: A token has this many runs of this many numbers.
        runs, length: A segment has this many runs of this many numbers; a program takes one segment of its tokens.
        each: How many blocks of TOKENS a program takes.
    """
    wide, far = inner.to(tl.int64), outer_step.to(tl.int64)  # of their products
    segment = program % segments
    lengths = tl.cdiv(inner, length)
    first_run, begin = (segment // lengths) * runs, (segment % lengths) * length
    last_run, end = tl.minimum(first_run + runs, outer), tl.minimum(begin + length, inner)
    first_block = (program // segments) * each
    last_block = tl.minimum(first_block + each, tl.cdiv(every, TOKENS))
    side, lane = tl.arange(0, _SIDE), tl.arange(0, 8)
    known, nan = tl.zeros([TOKENS, _SIDE], tl.int32), tl.zeros([TOKENS, _SIDE], tl.int32)
    zero = tl.zeros([TOKENS, _SIDE], tl.int32)
    low, high = tl.full([TOKENS, _SIDE], _INF, KIND), tl.full([TOKENS, _SIDE], -_INF, KIND)
    total, squares = tl.zeros([TOKENS, _SIDE], tl.float64), tl.zeros([TOKENS, _SIDE], tl.float64)
    for block in range(first_block, last_block):
        token = (block * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
        base = data + (token // tokens) * row_step + (token % tokens) * token_step
        lanes = tl.zeros([TOKENS, 8], tl.float64)
        for run in range(first_run, last_run):
            before = run * wide
            # Each number stands where its sum goes, as a run may begin in the midst of the lanes.
            order = (side // 8) * 8 + ((side % 8 - before) & 7)
            sums = tl.zeros([TOKENS, _SIDE], tl.float64)
            for start in tl.range(begin, end, 16, loop_unroll_factor=UNROLLED):
                at = start + order
                inside = at < end
                there = (token < every)[:, None] & inside[None, :]
                place = base[:, None] + (run * far + at * inner_step)[None, :]
                x = tl.load(place, mask=there, other=0).to(KIND)
                by = tl.load(weights + before + at, mask=inside, other=0)
                sums += x.to(tl.float64) * by[None, :]
                if STATISTICS:
                    known, nan, zero, low, high, total, squares = _taken(
                        x, there, known, nan, zero, low, high, total, squares
                    )  # fmt: skip
            first, second = tl.split(tl.permute(tl.reshape(sums, [TOKENS, 2, 8]), [0, 2, 1]))
            lanes = (lanes + first) + second
        out = prints + (segment * every + token)[:, None] * 8 + lane[None, :]
        here = (token < every)[:, None] & (lane < 8)[None, :]
        if SPLIT:
            tl.store(out, lanes, mask=here)
        else:
            tl.store(out, lanes.to(tl.float32), mask=here)
    if STATISTICS:
        count, sums, square = tl.sum(known.to(tl.int64)), tl.sum(total), tl.sum(squares)
        least, most = tl.min(low), tl.max(high)
        mean = sums / tl.maximum(count, 1).to(tl.float64)
        apart = square - sums * mean
        if (count > 0) & (least != most) & (apart <= _CANCELLED * square):
            rest, spread = tl.zeros([TOKENS, _SIDE], tl.float64), tl.zeros([TOKENS, _SIDE], tl.float64)
            for block in range(first_block, last_block):
                token = (block * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
                base = data + (token // tokens) * row_step + (token % tokens) * token_step
                for run in range(first_run, last_run):
                    for start in range(begin, end, 16):
                        at = start + side.to(tl.int64)
                        there = (token < every)[:, None] & (at < end)[None, :]
                        place = base[:, None] + (run * far + at * inner_step)[None, :]
                        x = tl.load(place, mask=there, other=0).to(KIND)
                        rest, spread = _apart(x, there, mean, rest, spread)
            left = tl.sum(rest)
            apart = tl.sum(spread) - left * left / count.to(tl.float64)
        inside = tl.minimum(last_block * TOKENS, every) - first_block * TOKENS
        size = inside.to(tl.int64) * (last_run - first_run) * (end - begin)
        nans, zeros = tl.sum(nan.to(tl.int64)), tl.sum(zero.to(tl.int64))
        row = rows + program.to(tl.int64) * _ROW
        _written(row, size, count, nans, zeros, least, most, sums, square, apart)


_FORM = ("every", "tokens", "outer", "inner", "row_step", "token_step", "outer_step", "inner_step",
         "runs", "length", "segments", "each")  # fmt: skip


@triton.jit(do_not_specialize=["first", "begin", "begin_2", "programs", *_FORM, *(f"{name}_2" for name in _FORM)])
def statistics_and_prints(
    data, rows, weights, prints, weights_2, prints_2, first, begin, begin_2, programs,
    every, tokens, outer, inner, row_step, token_step, outer_step, inner_step, runs, length, segments, each,
    every_2, tokens_2, outer_2, inner_2, row_step_2, token_step_2, outer_step_2, inner_step_2,
    runs_2, length_2, segments_2, each_2,
    KIND: tl.constexpr, STATISTICS: tl.constexpr, TWO: tl.constexpr,
    SPLIT: tl.constexpr, TOKENS: tl.constexpr, UNROLLED: tl.constexpr,
    SPLIT_2: tl.constexpr, TOKENS_2: tl.constexpr, UNROLLED_2: tl.constexpr,
):  # fmt: skip
    """One or two prints of a tensor, and its statistics from what was read for the first; see `_tokens`.

    The first `programs` take the first print, the others the second. Rows are written from `first` on, the prints from
    `begin` and `begin_2` on.
    """
    program = tl.program_id(0)
    if program < programs:
        _tokens(
            data, weights, rows + first, prints + begin, program,
            every, tokens, outer, inner, row_step, token_step, outer_step, inner_step, runs, length, segments, each,
            KIND, STATISTICS, SPLIT, TOKENS, UNROLLED,
        )  # fmt: skip
    elif TWO:
        _tokens(
            data, weights_2, rows, prints_2 + begin_2, program - programs,
            every_2, tokens_2, outer_2, inner_2, row_step_2, token_step_2, outer_step_2, inner_step_2,
            runs_2, length_2, segments_2, each_2,
            KIND, False, SPLIT_2, TOKENS_2, UNROLLED_2,
        )  # fmt: skip


def kind(single: bool) -> tl.dtype:
    """What numbers are compared as: float32 or float64."""
    return tl.float32 if single else tl.float64
