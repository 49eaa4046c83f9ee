"""The pairs of tensors of two runs: by the code that made them where it is the same, and by their numbers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import TraceError
from . import by_numbers
from .by_numbers import Content
from .meeting import Meeting
from .paths import Place, places, same_code
from .side import Made, Side, TraceSide


@dataclass(slots=True)
class Pairing:
    """Pairs of places, in the order of the left run, and how they were found.

    Attributes:
        pairs: the place in either run.
        unpaired: the tensors of either run that have no counterpart.
        by_path: whether the two runs are of the same code.
        prefixes: what stands before the common paths in either run.
    """

    pairs: list[tuple[Place, Place]]
    by_path: bool
    prefixes: tuple[str, str] = ("", "")
    unpaired: tuple[int, int] = field(default=(0, 0))


def pairing(meeting: Meeting, unit: float, names: Mapping[str, str] | None = None) -> Pairing:
    """Pair the tensors of two runs.

    Args:
        meeting: the two runs and their tokens.
        unit: unit roundoff of the coarser one.
        names: for paths of modules of the left run, or names of its tensors, what they are called in the right one.
    """
    left, right = meeting.sides
    prefixes = same_code(left, right) if isinstance(left, TraceSide) and isinstance(right, TraceSide) else None
    found: list[tuple[Place, Place]] = []
    if prefixes is not None and isinstance(left, TraceSide) and isinstance(right, TraceSide):
        found = _by_path(left, right, prefixes)
    if names:
        found = [*_by_names(meeting, names), *found]
    paired = [{made.number for pair in found for made in pair[side].made.values()} for side in (0, 1)]
    rest = [_own_places(side, taken) for side, taken in zip(meeting.sides, paired, strict=True)]
    if prefixes is None:
        contents = [[_content(meeting, place, bool(n)) for place in side] for n, side in enumerate(rest)]
        found += [(rest[0][a], rest[1][b]) for a, b in by_numbers.align(contents[0], contents[1], unit)]
    found.sort(key=lambda pair: (pair[0].order, pair[1].order))
    paired = [{made.number for pair in found for made in pair[side].made.values()} for side in (0, 1)]
    counts = [len(side.tensors) - len(taken) for side, taken in zip(meeting.sides, paired, strict=True)]
    return Pairing(found, prefixes is not None, prefixes or ("", ""), (counts[0], counts[1]))


def _by_names(meeting: Meeting, names: Mapping[str, str]) -> list[tuple[Place, Place]]:
    """Places that were told to be the same: what modules of these paths returned, or tensors of these names."""
    told: list[dict[str, list[Place]]] = []
    for side in meeting.sides:
        own: dict[str, list[Place]] = {}
        for place in _own_places(side, set()):
            own.setdefault(_name(side, place), []).append(place)
        told.append(own)
    found: list[tuple[Place, Place]] = []
    for left, right in names.items():
        for name, own, run in ((left, told[0], "first"), (right, told[1], "second")):
            if name not in own:
                raise TraceError(f"The {run} run has no module or tensor {name!r}: correct the map.")
        found += zip(told[0][left], told[1][right], strict=False)
    return found


def _name(side: Side, place: Place) -> str:
    made = place.first
    if isinstance(side, TraceSide) and made.step is not None:
        return str(side.trace.column("name")[made.step] or "")
    return made.name


def _by_path(left: TraceSide, right: TraceSide, prefixes: tuple[str, str]) -> list[tuple[Place, Place]]:
    """Places of the same code, each pair of tensors once."""
    ours, theirs = (places(side, prefix) for side, prefix in zip((left, right), prefixes, strict=True))
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Place, Place]] = {}
    for code, place in ours.items():
        other = theirs.get(code)
        if other is not None:
            key = (_numbers(place), _numbers(other))
            found.setdefault(key, (place, other))
    return list(found.values())


def _numbers(place: Place) -> tuple[int, ...]:
    return tuple(made.number for made in place.made.values())


def _own_places(side: Side, without: set[int]) -> list[Place]:
    """The places of one run, each tensor at the one that made it, in order."""
    if not isinstance(side, TraceSide):
        return [Place(made.order, {made.forward: made}) for made in side.tensors if made.number not in without]
    found: dict[int, Place] = {}
    by_maker: dict[object, Place] = {}
    for code, place in places(side, "").items():
        for forward, made in place.made.items():
            if made.number in without or made.number in found or made.name != code[2]:
                continue
            own = by_maker.setdefault(code, Place(made.order))
            own.made.setdefault(forward, made)
            found[made.number] = own
    return sorted(by_maker.values(), key=lambda place: place.order)


def _content(meeting: Meeting, place: Place, right: bool) -> Content:
    """The statistics of the numbers that meet: of the whole tensor where all do."""
    made = place.first
    if meeting.plain or not len(meeting.slots):
        return Content(made.numel, made.statistics)
    found = meeting.vectors(place.made, right)
    if found is None:
        return Content(made.numel, made.statistics)
    numbers = found.numbers[np.isfinite(found.numbers)].astype(np.float64)
    return Content(found.numbers.size, _statistics(numbers))


def _statistics(numbers: np.ndarray) -> tuple[float, float, float, float, float]:
    if not numbers.size:
        return (np.nan,) * 5
    least, most = float(numbers.min()), float(numbers.max())
    return float(numbers.mean()), float(numbers.std()), least, most, float(np.sqrt(np.dot(numbers, numbers)))


def coarsest(tensors: Sequence[Made]) -> float:
    """Unit roundoff of the coarsest dtype among some tensors."""
    return max((made.unit for made in tensors), default=2.0**-24)
