"""Tensors of two runs that have the same numbers, whatever made them and whatever they are called.

A monotone alignment, in the order in which they were made, of tensors with as many elements, by what no layout changes:
mean, standard deviation, minimum, maximum and l2. What is left and has equal numbers is paired in any order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DIGITS = 8  # to which statistics agree where only the layout differs
_REPEATED = 6  # to which they do where the same numbers stand there several times
_ALIKE = 0.03  # statistics that are closer are taken for those of the same tensor in any order
_WEAK = 0.7  # statistics that are further apart tell nothing
_SAME_LENGTH = 1e-4  # relative difference of l2 that leaves the possibility of a rotation
_NEAR = 40  # how far from its neighbours a tensor may be that is paired out of order


@dataclass(frozen=True, slots=True)
class Content:
    """The numbers of a tensor in any layout: how many there are, and their mean, std, min, max and l2."""

    numel: int
    statistics: tuple[float, float, float, float, float]


def align(left: Sequence[Content], right: Sequence[Content], unit: float) -> list[tuple[int, int]]:
    """Pair what has the same numbers; then, near such pairs, similar ones of the same size.

    Args:
        left: the tensors of one run, in the order in which they were made.
        right: those of the other.
        unit: unit roundoff of the coarser run.
    """
    ours, theirs = _distinct(left), _distinct(right)
    table = _Table([left[at] for at in ours], [right[at] for at in theirs], unit)
    with np.errstate(invalid="ignore"):  # of statistics that are not finite
        pairs = _monotone(table, _ALIKE)
        moved = _out_of_order(table, pairs)
        found = [*pairs, *moved, *_between(table, pairs, moved)]
    return sorted((ours[a], theirs[b]) for a, b in found)


def _distinct(contents: Sequence[Content]) -> list[int]:
    """The first tensor of each content: the same numbers in another shape, or several times, are no second one."""
    first: dict[object, int] = {}
    sizes: dict[object, int] = {}
    for at, one in enumerate(contents):
        once = sizes.setdefault(_rounded(one, _REPEATED), one.numel)
        if one.numel > once and one.numel % once == 0:  # keys and values that are repeated for groups of queries
            continue
        first.setdefault(same_numbers(one), at)
    return list(first.values())


def same_numbers(one: Content) -> tuple[object, ...]:
    """What the same numbers in another shape have in common."""
    return (one.numel, *_rounded(one, _DIGITS), f"{one.statistics[4]:.7e}")


def _rounded(one: Content, digits: int) -> tuple[object, ...]:
    scale = max(map(abs, one.statistics[:4])) or 1.0
    return tuple(round(x / scale, digits) if np.isfinite(x) else str(x) for x in one.statistics[:4])


class _Table:
    """How alike two tensors are, from 0 to a little over 1, for tensors of one size only."""

    def __init__(self, left: Sequence[Content], right: Sequence[Content], unit: float) -> None:
        self.left, self.right = left, right
        self._unit = unit
        sizes = defaultdict(list)
        for at in sorted(range(len(right)), key=lambda at: right[at].statistics[4]):
            sizes[right[at].numel].append(at)
        self._of_size = {size: np.array(found) for size, found in sizes.items()}  # each by length
        self._lengths = {n: np.array([right[at].statistics[4] for at in found]) for n, found in sizes.items()}
        self._right = np.array([one.statistics for one in right], np.float64).reshape(-1, 5)
        self._gaps: dict[int, tuple[int, int]] | None = None
        self._taken = np.zeros(len(right), bool)

    def limit(self, gaps: dict[int, tuple[int, int]] | None, taken: set[int]) -> None:
        """Look only at these tensors of the left, each for what lies between two of the right and is not taken."""
        self._gaps = gaps
        self._taken[:] = False
        self._taken[list(taken)] = True

    def row(self, at: int, within: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tensors of the right that may be this one of the left, how alike they are, and how far apart; `within`:
        how far they may be."""
        one = self.left[at]
        there = self._of_size.get(one.numel, np.zeros(0, np.int64))
        if self._gaps is not None and at not in self._gaps:
            there = there[:0]
        if len(there) and one.statistics[4] == one.statistics[4]:
            lengths, length = self._lengths[one.numel], one.statistics[4]
            low, high = np.searchsorted(lengths, (length * (1 - within), length / max(1 - within, 1e-9)))
            there = np.sort(there[low : high + 1])
        if self._gaps is not None:
            low, high = self._gaps.get(at, (0, 0))
            there = there[(there > low) & (there < high) & ~self._taken[there]]
        apart, lengths = _apart(np.array(one.statistics), self._right[there], one.numel)
        long = lengths < _SAME_LENGTH
        fits = (apart < within) | (long & (within > _ALIKE))
        there, apart, long = there[fits], apart[fits], long[fits]
        alike = 1 - np.log(np.maximum(apart, self._unit) / self._unit) / np.log(1 / self._unit)
        return there, np.clip(alike, 0, 1) ** 2 + np.where(long, 0.11, 0.01), apart


def _apart(one: np.ndarray, others: np.ndarray, numel: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative distances of statistics, and of lengths alone; see `distance.statistical`."""
    apart = np.abs(others - one)
    size = np.maximum(np.maximum(abs(one[4]), np.abs(others[:, 4])), 1e-300)
    most = np.maximum(np.maximum(np.abs(others[:, 2]), np.abs(others[:, 3])), max(abs(one[2]), abs(one[3]), 1e-300))
    apart[:, :2] *= numel**0.5
    apart[:, 0] /= size
    apart[:, 1] /= size
    apart[:, 2] /= most
    apart[:, 3] /= most
    apart[:, 4] /= size
    np.copyto(apart, np.inf, where=np.isnan(apart))
    return apart.max(1, initial=0), apart[:, 4]


def _monotone(table: _Table, within: float) -> list[tuple[int, int]]:
    """The pairs in order whose likeness adds up to most.

    `best[c]` is the most that the first c tensors of the right can add up to, and never falls; a pair that adds more
    raises it from its column on until that is no gain. `last[c]` is the last of the pairs that add up to it."""
    columns = len(table.right)
    best, last = np.zeros(columns + 1), np.full(columns + 1, -1)
    pairs: list[tuple[int, int, int]] = []  # left, right, and which pair came before
    for at in range(len(table.left)):
        there, alike, _ = table.row(at, within)
        for column, gain in zip(
            there[::-1].tolist(), alike[::-1].tolist(), strict=True
        ):  # none sees another of its row
            reached = best[column] + gain
            end = column + 1 + int(np.searchsorted(best[column + 1 :], reached))
            if end > column + 1:
                pairs.append((at, column, int(last[column])))
                best[column + 1 : end] = reached
                last[column + 1 : end] = len(pairs) - 1
    found = []
    one = int(last[columns])
    while one >= 0:
        left, right, one = pairs[one]
        found.append((left, right))
    return found[::-1]


def _out_of_order(table: _Table, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of what is left, pairs of tensors near their neighbours that are nearest to each other."""
    used = {b for _, b in pairs}
    beside = dict(pairs)
    options = []
    near = 0
    for at in range(len(table.left)):
        if at in beside:
            near = beside[at]
            continue
        there, _, apart = table.row(at, _ALIKE)
        options += [
            (float(far), at, int(b)) for b, far in zip(there, apart, strict=True)
            if int(b) not in used and abs(int(b) - near) < _NEAR
        ]  # fmt: skip
    found: dict[int, int] = {}
    for _, at, b in sorted(options):
        if at not in found and b not in used:
            found[at] = b
            used.add(b)
    return list(found.items())


def _between(
    table: _Table, pairs: Sequence[tuple[int, int]], moved: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Of what is left, similar tensors in the same order between two pairs; those that moved tell no order."""
    taken = {b for _, b in [*pairs, *moved]}
    beside, gone = dict(pairs), {a for a, _ in moved}
    rest = [at for at in range(len(table.left)) if at not in beside and at not in gone]
    gaps: dict[int, tuple[int, int]] = {}
    low = -1
    for at in range(len(table.left)):
        low = max(low, beside.get(at, -1))
        gaps[at] = (low, len(table.right))
    high = len(table.right)
    for at in range(len(table.left) - 1, -1, -1):
        gaps[at] = (gaps[at][0], high)
        high = min(high, beside.get(at, high))
    table.limit({at: gaps[at] for at in rest}, taken)
    found = _monotone(table, _WEAK)
    table.limit(None, set())
    return found
