"""Whether two runs have the same weights, told by their statistics; under other names, fused and split, too."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ..trace import schema
from ..trace.trace import Trace
from .alignment.distance import statistical
from .alignment.shards import together
from .alignment.side import EIGHT_BITS, STATISTICS, UNITS, Made, TraceSide
from .comparison import Prerequisite

_SAME = 1e-7  # statistics of the same numbers, summed in another order, are closer than this
_CONVERTED = 4.0  # units that a conversion to another dtype may move statistics
_ALTOGETHER = 0.5  # relative l2 above which a matrix is another one
_MOST_MATRICES = 0.5  # share of the matrices that have to be others
_LIKELY = 0.35  # of the chance difference of two means, in its own standard deviations: see `_another`
_SMALLEST = 64  # elements of a matrix that is counted
_NEAR = 0.15  # of its deviation, by which the ends of a matrix that was trained on may move
_FEW = 0.2  # share of the matrices that resemble one of another model by chance
_FEWEST = 3  # matrices that a run has to have, to be told that they are others
_SHARD = re.compile(r"shard (\d)", re.ASCII)  # a placement along this axis, as meta.json has it
_READ: WeakKeyDictionary[TraceSide, list[tuple[str, int, Made]]] = WeakKeyDictionary()  # as reading them takes long
_FUSED = 4  # weights that may have been put together into one


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter of a module as a run had it."""

    name: str
    made: Made


def weights_of(side: TraceSide, prefix: str = "") -> list[Weight]:
    """The parameters, in the order in which their modules were called."""
    if side not in _READ:
        _READ[side] = _read(side.trace)
    found: dict[str, dict[int, Made]] = defaultdict(dict)  # of each weight what each process held
    for module, rank, made in _READ[side]:
        found[f"{module.removeprefix(prefix)}.{made.name}".lstrip(".")].setdefault(rank, made)
    return [Weight(name, _of_processes(name, list(held.values()), side.trace)) for name, held in found.items()]


def _read(trace: Trace) -> list[tuple[str, int, Made]]:
    """Every weight of every call, with the path of its module and its process."""
    roles = trace.column("role", "tensors")
    at = np.flatnonzero(roles == schema.PARAMETER)
    if not len(at):
        return []
    first, last = int(at[0]), int(at[-1]) + 1
    names = ["role", "name", "tensor", "shape", "dtype", "value", *STATISTICS, "nan", "inf"]
    table = trace.part("tensors", first, last, names).take(at - first).to_pylist()
    positions, modules, ranks = trace.positions("tensors"), trace.column("name"), trace.column("rank")
    found = []
    for step, one in zip(positions[at].tolist(), table, strict=True):
        mean, std, least, most, length = (float("nan") if one[key] is None else one[key] for key in STATISTICS)
        statistics, shape = (mean, std, least, most, length), tuple(one["shape"] or ())
        bad = int(one["nan"] or 0) + int(one["inf"] or 0)
        made = Made(
            0, one["tensor"], 0, one["name"] or "", shape, str(one["dtype"]), statistics, bad, None, one["value"]
        )
        found.append((str(modules[step] or ""), int(ranks[step]), made))
    return found


def _of_processes(name: str, held: Sequence[Made], trace: Trace) -> Made:
    """A weight as the processes of a run held it together: where they are not alike, each held a part."""
    if len(held) == 1 or all(one.statistics == held[0].statistics for one in held):
        return held[0]
    return together(held, _sizes(name, held[0], trace, len(held)))


def _sizes(name: str, made: Made, trace: Trace, processes: int) -> list[int]:
    """How many elements of a weight each process held, by the placement of the tensor; else all as many."""
    placements = trace.meta.get("placements")
    placed = placements.get(name) if isinstance(placements, dict) else None
    axis = next((int(found[1]) for one in placed or [] if (found := _SHARD.fullmatch(str(one)))), None)
    if axis is None or axis >= len(made.shape) or not made.shape[axis]:
        return [max(1, made.numel // processes)] * processes
    most, size = -(-made.shape[axis] // processes), made.shape[axis]
    return [made.numel // size * max(0, min(most, size - n * most)) for n in range(processes)]


def differing(left: TraceSide, right: TraceSide, prefixes: tuple[str, str] | None) -> Prerequisite | None:
    """The weights that differ, None if none do. Without common paths they are matched by their numbers."""
    if prefixes is not None:
        ours, theirs = weights_of(left, prefixes[0]), weights_of(right, prefixes[1])
        by_name = {one.name: one for one in theirs}
        pairs = [(one, by_name[one.name]) for one in ours if one.name in by_name]
        names = [one.name for one, other in pairs if not same(one.made, other.made)]
        count = len(pairs)
        moved = _Elsewhere([other for _, other in pairs])
        if names and all(moved.has(one.made) for one, _ in pairs if one.name in set(names)):
            return Prerequisite("weights", f"{len(names)} of {count} weights", "the same at other places", tuple(names))
    else:
        ours, theirs = weights_of(left), weights_of(right)
        names, count = _unmatched(ours, theirs), len(ours)
    if not names:
        return None
    sizes = f"of {count} weights"
    return Prerequisite("weights", f"{len(names)} {sizes}", "others", tuple(names))


def incomparable(left: TraceSide, right: TraceSide, prefixes: tuple[str, str] | None) -> bool:
    """Whether most weight matrices of the two runs are other ones; those of layers that were exchanged are not. Without
    common paths, whether few matrices of either resemble one of the other."""
    if prefixes is None:
        ours, theirs = ([one.made for one in weights_of(side) if _is_matrix(one.made)] for side in (left, right))
        return min(len(ours), len(theirs)) >= _FEWEST and max(_known(ours, theirs), _known(theirs, ours)) < _FEW
    there = weights_of(right, prefixes[1])
    named, moved = {one.name: one.made for one in there}, _Elsewhere(there)
    both = [(one.made, named[one.name]) for one in weights_of(left, prefixes[0]) if one.name in named]
    matrices = [
        (a, b) for a, b in both
        if a.shape == b.shape and _is_matrix(a) and _is_matrix(b)
    ]  # fmt: skip
    if len(matrices) < _FEWEST:
        return False
    others = [_another(left, right, a, b) and not moved.has(a) for a, b in matrices]
    return bool(np.mean(others) > _MOST_MATRICES)


class _Elsewhere:
    """The weights of a run, to be found by their numbers."""

    def __init__(self, weights: Sequence[Weight]) -> None:
        self._by_shape: dict[tuple[int, ...], list[Made]] = defaultdict(list)
        for one in weights:
            self._by_shape[one.made.shape].append(one.made)

    def has(self, made: Made) -> bool:
        """Whether one of them has the numbers of `made`, at whatever place."""
        return any(same(made, one) for one in self._by_shape[made.shape])


def same(left: Made, right: Made) -> bool:
    """Whether two weights have the same numbers, as far as their statistics tell, or the dtypes of their runs let be
    told."""
    if left.numel != right.numel:
        return False
    if not (_real(left) and _real(right)):
        return left.dtype == right.dtype and statistical(left, right) <= _SAME
    within = _SAME if left.dtype == right.dtype else _CONVERTED * max(left.unit, right.unit)
    return statistical(left, right) <= within


def _is_matrix(made: Made) -> bool:
    return len(made.shape) > 1 and made.numel >= _SMALLEST and _real(made)


def _known(ours: Sequence[Made], theirs: Sequence[Made]) -> float:
    """The share of some matrices that resemble one of others."""
    return sum(any(_resembles(a, b) for b in theirs if a.numel == b.numel) for a in ours) / len(ours)


def _resembles(ours: Made, theirs: Made) -> bool:
    """Whether a matrix may be the other, trained on, rounded or in another layout: its mean and its ends are near."""
    apart = [abs(a - b) for a, b in zip(ours.statistics, theirs.statistics, strict=True)]
    std = max(ours.statistics[1], theirs.statistics[1])
    return bool(apart[0] * ours.numel**0.5 <= _LIKELY * std and max(apart[1:4]) <= _NEAR * std)


def _real(made: Made) -> bool:
    return made.dtype in UNITS or made.unit == EIGHT_BITS


def _another(left: TraceSide, right: TraceSide, ours: Made, theirs: Made) -> bool:
    """Whether a matrix is another one: by its numbers if they were kept, else by its mean.

    The means of two unrelated matrices of n elements differ by about std·√(2/n); where one is the other with a
    relative change δ, by δ as much. A mean is thus the distance seen in one direction; of many matrices most tell."""
    arrays = [side.array(made) if made.value else None for side, made in ((left, ours), (right, theirs))]
    if arrays[0] is not None and arrays[1] is not None:
        apart = np.linalg.norm(arrays[0].astype(np.float64) - arrays[1]) / max(ours.statistics[4], 1e-300)
        return bool(apart > _ALTOGETHER)
    mean, std = ours.statistics[:2]
    scale = max(std, theirs.statistics[1]) / ours.numel**0.5
    return bool(scale > 0 and abs(mean - theirs.statistics[0]) / scale > _LIKELY)


def _unmatched(ours: Sequence[Weight], theirs: Sequence[Weight]) -> list[str]:
    """The weights of the left that the right has not, though it has one of that size that the left has not."""
    free = list(theirs)
    rest = []
    for one in ours:
        found = next((other for other in free if same(one.made, other.made)), None)
        if found is None:
            rest.append(one)
        else:
            free.remove(found)
    rest, free = _without_fused(rest, free)
    free, rest = _without_fused(free, rest)
    sizes = {one.made.numel for one in free}
    return [one.name for one in rest if one.made.numel in sizes]


def _without_fused(parts: list[Weight], wholes: list[Weight]) -> tuple[list[Weight], list[Weight]]:
    """What is left when weights that are several others put together are taken away, and those others."""
    left, right = list(parts), list(wholes)
    for whole in wholes:
        for begin in range(len(left)):
            runs = (left[begin : begin + n] for n in range(2, _FUSED + 1))
            run = next((one for one in runs if _is_fused(one, whole)), None)
            if run is not None:
                left = [one for one in left if one not in run]
                right.remove(whole)
                break
    return left, right


def _is_fused(parts: Sequence[Weight], whole: Weight) -> bool:
    """Whether a weight is others put together: sizes, sums and squares add up, and the ends are theirs."""
    if sum(one.made.numel for one in parts) != whole.made.numel:
        return False
    mean = sum(one.made.statistics[0] * one.made.numel for one in parts) / whole.made.numel
    length = sum(one.made.statistics[4] ** 2 for one in parts) ** 0.5
    least, most = (pick(one.made.statistics[n] for one in parts) for pick, n in ((min, 2), (max, 3)))
    std = max(length**2 / whole.made.numel - mean**2, 0.0) ** 0.5
    made = whole.made
    fused = Made(0, 0, 0, "", made.shape, parts[0].made.dtype, (mean, std, least, most, length), 0, None, None)
    return same(fused, made)
