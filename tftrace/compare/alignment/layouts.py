"""Which axis of a tensor is that of the rows, of the tokens or of the keys, so that numbers of the same tokens meet.

The sizes tell: an axis of tokens has as many elements as each forward pass has tokens. Where several axes may be it,
there are several layouts, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from ...trace import prints
from .forward_tokens import Forward
from .side import Made, Side
from .token_pairs import Slots

ROWS, TOKENS, BOTH, KEYS, LAST, ENCODED, CHANNELS = "B", "T", "BT", "K", "L", "E", "·"
_MOST = 12  # layouts that are tried
_FILL = 1e30  # what is larger in size fills a mask
Layout = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The numbers of a tensor by token.

    Attributes:
        at: which pairs of tokens these are.
        numbers: pairs of tokens × channels × keys (one, where no axis is of keys); NaN where there is no such key, an
            infinity for what stands for a hidden key and for NaN.
        keyed: whether the last axis is one of keys.
        printed: whether these are prints of the vectors, not their numbers.
        width: of prints, how many numbers the vector of a token has.
    """

    at: np.ndarray
    numbers: np.ndarray
    keyed: bool = False
    printed: bool = False
    width: int = 0


def layouts(made: Mapping[int, Made], forwards: Mapping[int, Forward]) -> list[Layout]:
    """What the axes of a tensor may be, the likeliest first; empty where its forward passes disagree in their axes."""
    shapes = {number: one.shape for number, one in made.items()}
    if len({len(shape) for shape in shapes.values()}) != 1 or any(number not in forwards for number in shapes):
        return []
    axes = len(next(iter(shapes.values())))
    options = [_options([(shape[axis], forwards[n]) for n, shape in shapes.items()]) for axis in range(axes)]
    found = {one for one in _combined(options) if _possible(one)}
    if axes >= 3 and not any(TOKENS in one or BOTH in one or KEYS in one for one in found):
        found |= {one for one in _combined(_with_last(options, shapes, forwards)) if _possible(one)}
    return sorted(found, key=likelihood, reverse=True)[:_MOST]


def vectors(
    side: Side, made: Mapping[int, Made], layout: Layout, forwards: Mapping[int, Forward], slots: Slots, right: bool
) -> Vectors | None:
    """The numbers of the tensor at each pair of tokens, in the run on the left or `right`; None if they were not kept.

    Axes of keys stay whole: their places are those of the cache."""
    place = slots.side(right)
    parts: list[np.ndarray] = []
    at: list[np.ndarray] = []
    for number, one in made.items():
        if KEYS in layout and TOKENS not in layout and BOTH not in layout:  # the cache: its last state has it all
            if number != max(made):
                continue
            place = _at_the_end(place, slots.starts, number)
            chosen = np.flatnonzero(place[:, 1] >= 0)
        else:
            chosen = np.flatnonzero(place[:, 0] == number)
        if not len(chosen):
            continue
        whole = side.array(one)
        if whole is None:
            return None
        taken = _take(whole, layout, forwards[number], place[chosen])
        if taken is None:
            return None
        keep, numbers = taken
        parts.append(numbers)
        at.append(chosen[keep])
    if not parts or len({part.shape[1] for part in parts}) != 1:
        return None
    widest = max(part.shape[2] for part in parts)
    parts = [p if p.shape[2] == widest else _widened(p, widest) for p in parts]
    return Vectors(np.concatenate(at), np.concatenate(parts), _keyed(layout))


def printed(
    side: Side, made: Mapping[int, Made], layout: Layout, forwards: Mapping[int, Forward], slots: Slots, right: bool
) -> Vectors | None:
    """The prints of the tensor's vectors at each pair of tokens; None if neither prints nor numbers were kept."""
    axis = next((at for at, label in enumerate(layout) if label in (TOKENS, BOTH, LAST)), None)
    if axis is None and layout[:1] == (ROWS,) and len(layout) == 2:
        axis = 0
    if axis is None or ROWS in layout[1:]:
        return None
    kept = (CHANNELS if axis == 0 else layout[0], layout[axis], CHANNELS)
    place = slots.side(right)
    parts: list[np.ndarray] = []
    at: list[np.ndarray] = []
    for number, one in made.items():
        chosen = np.flatnonzero(place[:, 0] == number)
        whole = side.token_print(one, axis) if axis in prints.axes(one.shape) else None
        if not len(chosen):
            continue
        taken = None if whole is None else _take(whole, kept, forwards[number], place[chosen])
        if taken is None:
            return None
        parts.append(taken[1])
        at.append(chosen[taken[0]])
    rows = [one.shape[0] if kept[0] == ROWS else 1 for one in made.values()]
    widths = {one.numel // max(1, one.shape[axis] * n) for one, n in zip(made.values(), rows, strict=True)}
    if not parts or len(widths) != 1:
        return None
    return Vectors(np.concatenate(at), np.concatenate(parts), printed=True, width=widths.pop())


def _at_the_end(place: np.ndarray, starts: Sequence[int], number: int) -> np.ndarray:
    """Places in the rows where their texts lie in a forward pass, -1 in none: beams may have changed theirs."""
    found: np.ndarray = place.copy()
    for begin, end in pairwise([*starts, len(place)]):
        rows = place[begin:end, 1][place[begin:end, 0] == number]
        found[begin:end, 1] = rows[-1] if len(rows) else -1
    return found


def _widened(part: np.ndarray, keys: int) -> np.ndarray:
    """A part of fewer keys, filled up with NaN, which stands for what is not there."""
    missing = ((0, 0), (0, 0), (0, keys - part.shape[2]))
    return np.pad(part.astype(np.float32), missing, constant_values=np.nan)


def _keyed(layout: Layout) -> bool:
    return KEYS in layout and TOKENS in layout


def _take(
    whole: np.ndarray, layout: Layout, forward: Forward, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Of the elements of a forward pass those of these tokens, and which of the tokens they are."""
    main = forward.main
    axes = {label: axis for axis, label in enumerate(layout) if label != CHANNELS}
    keep = np.arange(len(place))
    if not whole.size:
        return None
    if BOTH in axes:
        if main is None:
            return None
        whole = np.moveaxis(whole, axes[BOTH], 0)
        return keep, cleaned(whole[place[:, 1] * main.tokens + place[:, 2]].reshape(len(place), -1, 1))
    index: list[np.ndarray] = []
    front: list[int] = []
    if ROWS in axes:
        front.append(axes[ROWS])
        index.append(place[:, 1])
    if TOKENS in axes or LAST in axes or (KEYS in axes and TOKENS not in axes):
        label = TOKENS if TOKENS in axes else LAST if LAST in axes else KEYS
        there = place[:, 3] if label == KEYS else place[:, 2]
        if label == LAST:
            there = there - ((main.tokens if main else 0) - whole.shape[axes[LAST]])
        keep = np.flatnonzero((there >= 0) & (there < whole.shape[axes[label]]))
        front.append(axes[label])
        index.append(there)
    if not len(keep):
        return None
    if not front:
        return keep[:1], cleaned(whole.reshape(1, -1, 1))
    moved = np.moveaxis(whole, front, range(len(front)))
    if _keyed(layout):
        moved = np.moveaxis(moved, axes[KEYS] - sum(axis < axes[KEYS] for axis in front) + len(front), -1)
    taken = moved[tuple(one[keep] for one in index)]
    return keep, cleaned(taken.reshape(len(keep), -1, taken.shape[-1] if _keyed(layout) else 1))


def cleaned(numbers: np.ndarray) -> np.ndarray:
    """NaN and what fills a mask as infinities, so that NaN is free to stand for what is missing."""
    bad = ~(np.abs(numbers) < _FILL)
    if not bad.any():
        return numbers
    found = numbers.astype(np.float64)
    found[bad] = np.where(np.isnan(numbers[bad]), np.inf, -np.inf)
    return found


def _options(seen: Sequence[tuple[int, Forward]]) -> set[str]:
    """What an axis may be, by its size in each forward pass."""
    found = {CHANNELS} if len({size for size, _ in seen}) == 1 else set()
    mains = [(size, forward, forward.main) for size, forward in seen if forward.main is not None]
    if len(mains) == len(seen):
        if all(size == main.batch for size, _, main in mains):
            found.add(ROWS)
        if all(size == main.tokens for size, _, main in mains):
            found.add(TOKENS)
        if all(size == main.tokens * main.batch for size, _, main in mains):
            found.add(BOTH)
        if all(size == forward.keys for size, forward, _ in mains):
            found.add(KEYS)
    return found


def _with_last(
    options: list[set[str]], shapes: Mapping[int, tuple[int, ...]], forwards: Mapping[int, Forward]
) -> list[set[str]]:
    """The options, where the second axis may also be the last tokens only, as logits often are."""
    short = all((main := forwards[n].main) is not None and shape[1] <= main.tokens for n, shape in shapes.items())
    return [options[0], options[1] | {LAST} if short else options[1], *options[2:]]


def _combined(options: Sequence[set[str]]) -> Iterator[Layout]:
    if all(options) and np.prod([len(one) for one in options]) <= 4096:
        yield from product(*options)


def _possible(layout: Layout) -> bool:
    """Each axis once, rows before tokens (or just after them), tokens before keys."""
    named = [label for label in layout if label != CHANNELS]
    order = [label for label in (ROWS, BOTH, TOKENS, LAST, KEYS) if label in named]
    turned = [label for label in (TOKENS, ROWS, KEYS) if label in named]
    return (
        named in (order, turned) and not (BOTH in named and len(named) > 1) and not (LAST in named and TOKENS in named)
    )


def likelihood(layout: Layout) -> tuple[int, ...]:
    """Of several layouts the one with more axes told; rows first; tokens second of three, third of four, keys last."""
    named = {label: axis for axis, label in enumerate(layout) if label != CHANNELS}
    token = named.get(TOKENS, named.get(LAST, -1))
    usual = token == (2 if len(layout) == 4 else 1)
    both = int(BOTH in named)
    matrix = KEYS in named and TOKENS in named and len(layout) < 3  # tokens × keys only in maps of heads
    return (
        int(TOKENS in named or BOTH in named),
        int(named.get(ROWS, -1) == 0) - both,
        int(usual),
        int(named.get(KEYS, -1) == len(layout) - 1) - 2 * int(matrix),
        int(LAST in named),
    )
