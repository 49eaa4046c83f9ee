"""What a pair of tensors was made from, in either run: other pairs, and choices between whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..flow import MadeFrom, producer
from ..trace import schema
from .alignment.by_numbers import Content, same_numbers
from .alignment.meeting import Meeting
from .alignment.paths import CACHED, places
from .alignment.side import Made, TraceSide
from .judged_pair import DIFFERING, Judged

_FLIPPED = 0.5  # share of choices that rounding may turn at once
_CROSSED = 0.05  # share of comparisons that it may: most numbers are further from what they are compared with
_HOPS = 60  # unpaired tensors that are looked through for what a tensor was made from


class PairSources:
    """Finds the pairs that a pair was made from, behind tensors that have no counterpart."""

    def __init__(self, meeting: Meeting, pairs: Sequence[Judged], prefixes: tuple[str, str] | None) -> None:
        self._meeting, self._pairs = meeting, pairs
        self._prefixes = prefixes
        self._pairs_of = [self._all(side) for side in (0, 1)]
        self.index = [self._indices(side) for side in (0, 1)]
        self._made_from = [MadeFrom(side.trace) if isinstance(side, TraceSide) else None for side in meeting.sides]
        self._chosen = self._other_choices(prefixes)

    def of(self, at: int) -> list[int]:
        """The earlier pairs that the pair `at` was made from; of what no line tells, those that its call was given."""
        pair = self._pairs[at]
        found: dict[int, None] = {}
        sources = [
            [n for made in place.made.values() for n, _ in self._steps_back(side, made.number, made.step)]
            for side, place in enumerate((pair.left, pair.right))
        ]
        both = [{at for n in numbers for at in self._pairs_of[side].get(n, ())} for side, numbers in enumerate(sources)]
        for side, numbers in enumerate(sources):
            for number in numbers:
                there = [one for one in self._pairs_of[side].get(number, ()) if one < at]
                found.update(dict.fromkeys([one for one in there if one in both[1 - side]][:1] or there[:1]))
        if not found:  # written in place
            for side, place in enumerate((pair.left, pair.right)):
                found.update(dict.fromkeys(self._given(side, place.first)))
        return [one for one in found if one < at]

    def counted(self, at: int) -> bool:
        """Whether a pair was made from whole numbers alone, as the angles of positions are."""
        pair = self._pairs[at]
        for side, place in enumerate((pair.left, pair.right)):
            run, made_from, made = self._meeting.sides[side], self._made_from[side], place.first
            if not isinstance(run, TraceSide) or made_from is None or made.step is None:
                return False
            sources = made_from.of(made.number, made.step)
            if not sources or any(number in run.by_number for number, _ in sources):
                return False
        return True

    def chose_otherwise(self, at: int) -> bool:
        """Whether a pair was made from whole numbers that the runs chose otherwise although what they chose by agrees:
        the experts of a token, the best word."""
        if not self._chosen:
            return False
        made, trace = self._pairs[at].left.first, self._meeting.sides[0]
        if not isinstance(trace, TraceSide) or made.step is None:
            return False
        seen = {number for number, _ in self._steps_back(0, made.number, made.step)}
        calls = {made.step, trace.trace.call_of(made.step)}
        for call in calls:
            seen |= {row.tensor for row in trace.trace.tensors_of(call) if row.role == schema.INPUT}
        return any(self._agreed(number) for number in seen & self._chosen.keys())

    def _agreed(self, number: int) -> bool:
        """Whether what a choice was made by agrees in the two runs."""
        step = self._chosen[number]
        found = list(self._sources(0, number, step))
        return bool(found) and not any(self._pairs[one].status in DIFFERING for one in found)

    def _other_choices(self, prefixes: tuple[str, str] | None) -> dict[int, int]:
        """The whole numbers of the left run that are others in the right one, where the same code made them, with their
        steps; ids and positions, which no numbers made, are among them."""
        left, right = self._meeting.sides
        if prefixes is None or not isinstance(left, TraceSide) or not isinstance(right, TraceSide):
            return {}
        ours, theirs = (places(side, prefix, whole=True) for side, prefix in zip((left, right), prefixes, strict=True))
        found: dict[int, int] = {}
        for code, place in ours.items():
            other = theirs.get(code)
            if other is None or place.first.step is None or place.first.number in found:
                continue
            arrays = [self._meeting.vectors(group.made, bool(n)) for n, group in enumerate((place, other))]
            if arrays[0] is None or arrays[1] is None or arrays[0].numbers.shape != arrays[1].numbers.shape:
                continue
            others = float(np.mean(arrays[0].numbers != arrays[1].numbers))
            for made in place.made.values() if others else ():
                # what nobody is known to have made, and is another nearly everywhere, was not chosen within rounding
                if made.step is None:
                    continue
                if made.dtype == "bool" and others > _CROSSED:
                    continue
                if others <= _FLIPPED or producer(left.trace, made.step, made.number) is not None:
                    found[made.number] = made.step
        return found

    def _all(self, side: int) -> dict[int, list[int]]:
        """For each tensor's number the pairs that it is in: of layers that were exchanged, more than one."""
        found: dict[int, list[int]] = {}
        for at, pair in enumerate(self._pairs):
            for made in (pair.left, pair.right)[side].made.values():
                found.setdefault(made.number, []).append(at)
        if self._prefixes is None:
            self._add_copies(side, found)
        return found

    def _add_copies(self, side: int, found: dict[int, list[int]]) -> None:
        """Let what has the same numbers as a tensor in a pair, in another shape, be in that pair, too."""
        known: dict[object, int] = {}
        for made in self._meeting.sides[side].tensors:
            key = same_numbers(Content(made.numel, made.statistics))
            if made.number in found:
                known[key] = made.number
            elif key in known:
                found[made.number] = found[known[key]]

    def _indices(self, side: int) -> dict[int, int]:
        """For each tensor's number the first pair that it is in."""
        return {number: pairs[0] for number, pairs in self._pairs_of[side].items()}

    def _given(self, side: int, made: Made) -> Iterable[int]:
        """The pairs that a call, or the one around a line, was given."""
        run = self._meeting.sides[side]
        if not isinstance(run, TraceSide) or made.step is None:
            return []
        call = run.trace.call_of(made.step)
        rows = [row for row in run.trace.tensors_of(call) if row.role == schema.INPUT and row.tensor != made.number]
        return [self.index[side][row.tensor] for row in rows if row.tensor in self.index[side]]

    def _sources(self, side: int, number: int, step: int | None) -> list[int]:
        index = self.index[side]
        found = (index[source] for source, _ in self._steps_back(side, number, step) if source in index)
        return list(dict.fromkeys(found))

    def _is_cached(self, side: int, number: int, where: int) -> bool:
        """Whether a step saw a tensor in a cache only, which has the keys of all layers in it."""
        run = self._meeting.sides[side]
        if self._prefixes is not None or not isinstance(run, TraceSide):
            return False
        names = [row.name for row in run.trace.tensors_of(where) if row.tensor == number]
        return bool(names) and all(CACHED.search(name) for name in names)

    def _steps_back(self, side: int, number: int, step: int | None) -> list[tuple[int, int]]:
        """The tensors that a tensor was made from, back to those that are in pairs."""
        made_from = self._made_from[side]
        if made_from is None or step is None:
            return []
        found: list[tuple[int, int]] = []
        seen = {number}
        waiting = [(number, step)]
        for _ in range(_HOPS):
            if not waiting:
                break
            for source, where in made_from.of(*waiting.pop(0)):
                if source in seen or self._is_cached(side, source, where):
                    continue
                seen.add(source)
                found.append((source, where))
                if source not in self.index[side]:
                    waiting.append((source, where))
        return found
