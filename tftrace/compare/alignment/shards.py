"""A run that is spread over processes, put together, so that it can be compared with one that is not.

What every process holds alike is whole. Of what differs between them the shapes of the other run tell along which axis
the parts lie side by side. What neither explains (sums that are not summed yet, other inputs) has no counterpart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...trace import prints
from .paths import Code, Place, places, same_code
from .side import Made, Side, TraceSide


def put_together(left: Side, right: Side) -> tuple[Side, Side]:
    """The two runs; where only one was recorded by several processes, these put together."""
    counts = [len(side.trace.ranks) if isinstance(side, TraceSide) else 1 for side in (left, right)]
    if counts[0] == counts[1] or min(counts) > 1:
        return left, right
    spread, whole = (left, right) if counts[0] > 1 else (right, left)
    if not isinstance(spread, TraceSide):
        return left, right
    prefixes = same_code(spread, whole) if isinstance(whole, TraceSide) else None
    known: Mapping[Code, Place] = {}
    if prefixes is not None and isinstance(whole, TraceSide):
        known = places(whole, prefixes[1])
    found = SpreadSide(spread, known, prefixes[0] if prefixes else "")
    return (found, whole) if spread is left else (whole, found)


class SpreadSide(TraceSide):
    """The run as the first process saw it, with its tensors put together from those of all processes.

    Args:
        first: The run as the first process saw it.
        known: What the other run made, by code.
        prefix: What stands before the paths that both have.
    """

    def __init__(self, first: TraceSide, known: Mapping[Code, Place], prefix: str) -> None:
        Side.__init__(self, [])
        self.trace, self.forwards = first.trace, first.forwards
        self.rows, self.whole_rows, self.whole_numbers = first.rows, first.whole_rows, first.whole_numbers
        only = first.forwards[0] if len(first.forwards) == 1 else None
        others = [TraceSide(first.trace, only, rank) for rank in first.trace.ranks if rank != first.rank]
        self._sides = [first, *others]
        self._parts: dict[int, tuple[list[Made], int]] = {}  # of tensors in parts these and their axis
        made = self._found([places(side, prefix) for side in self._sides], known)
        self.tensors = [replace(one, order=at) for at, one in enumerate(made[number] for number in sorted(made))]

    def _found(self, ranks: Sequence[Mapping[Code, Place]], known: Mapping[Code, Place]) -> dict[int, Made]:
        """The tensors that every process holds alike, or whose parts lie side by side, by their numbers."""
        found: dict[int, Made] = {}
        for code, place in ranks[0].items():
            for forward, made in place.made.items():
                parts = [made, *(rank[code].made[forward] for rank in ranks[1:]
                                 if code in rank and forward in rank[code].made)]  # fmt: skip
                if made.number in found or len(parts) != len(ranks):
                    continue
                if all(one.shape == made.shape and _alike(one, made) for one in parts):
                    found[made.number] = made
                elif code in known and forward in known[code].made:
                    axis = axis_of([one.shape for one in parts], known[code].made[forward].shape)
                    if axis is not None:
                        found[made.number] = together(parts, [one.numel for one in parts], axis)
                        self._parts[made.number] = (parts, axis)
        return found

    def _load(self, made: Made) -> np.ndarray | None:
        if made.number not in self._parts:
            return self._sides[0].array(made)
        parts, axis = self._parts[made.number]
        arrays = [side.array(part) for side, part in zip(self._sides, parts, strict=True)]
        known = [array for array in arrays if array is not None]
        return np.concatenate(known, axis) if len(known) == len(arrays) else None

    def token_print(self, made: Made, axis: int) -> np.ndarray | None:
        """As `Side.token_print`; the prints of parts are not those of the whole."""
        if made.number not in self._parts:
            return self._sides[0].token_print(made, axis)
        array = self.array(made)
        return None if array is None else prints.print_of(array, axis)


def axis_of(parts: Sequence[tuple[int, ...]], whole: tuple[int, ...]) -> int | None:
    """The axis along which parts of these shapes make up the whole, None if they do not."""
    for axis in range(len(whole)):
        rest = whole[:axis] + whole[axis + 1 :]
        if all(len(part) == len(whole) and part[:axis] + part[axis + 1 :] == rest for part in parts):
            return axis if sum(part[axis] for part in parts) == whole[axis] else None
    return None


def together(parts: Sequence[Made], counts: Sequence[int], axis: int | None = None) -> Made:
    """The whole that parts of so many elements make up; its statistics are theirs, added up.

    Without an axis every part has the shape of the whole, as the weights of a DTensor have."""
    first, total = parts[0], max(1, sum(counts))
    shares = np.array(counts, float)
    means, _, least, most, lengths = np.array([one.statistics for one in parts]).T
    mean, length = float(means @ shares / total), float(np.sqrt(np.sum(lengths**2)))
    std = float(np.sqrt(max(length**2 / total - mean**2, 0.0))) if mean == mean else float("nan")
    shape = list(first.shape)
    if axis is not None:
        shape[axis] = sum(one.shape[axis] for one in parts)
    statistics = (mean, std, float(least.min()), float(most.max()), length)
    odd = sum(one.nonfinite for one in parts)
    return replace(first, shape=tuple(shape), statistics=statistics, nonfinite=odd, value=None)


def _alike(one: Made, other: Made) -> bool:
    """Whether two processes hold the same numbers, as far as statistics tell."""
    known = one.statistics == other.statistics and one.nonfinite == other.nonfinite
    return known and all(number == number for number in one.statistics)
