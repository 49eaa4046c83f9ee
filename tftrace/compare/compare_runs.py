"""Compares two runs: what differs before the numbers, then the first difference that rounding does not explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import TraceError
from ..navigate.siblings import layer
from ..trace import schema
from . import same_weights, sentences
from .alignment.meeting import Chosen, Meeting
from .alignment.pairing import Pairing, coarsest, pairing
from .alignment.shards import put_together
from .alignment.side import Made, Side, TraceSide
from .comparison import (
    DIFFERS,
    EQUAL,
    INCOMPARABLE,
    ROUNDING,
    UNDECIDED,
    BornDifference,
    Comparison,
    LayerDifference,
    PairCounts,
    Place,
    TensorPair,
    Unpaired,
)
from .judged_pair import BORN, HEALED, INHERITED, SAME, UNSURE, WITHIN, Judged
from .judgement import Judgement
from .prerequisites import prerequisites
from .reasons import Reasons


def compare_runs(
    left: Side, right: Side, chosen: Chosen | None = None, names: Mapping[str, str] | None = None
) -> Comparison:
    """Compare two runs.

    Args:
        left, right: the runs; either may be another code or another framework than the other.
        chosen: rows and tokens to compare, if not all that meet.
        names: for paths of modules of the left run, or names of its tensors, what they are called in the right one,
            where it is known.

    Raises:
        TraceError: there is no such row or token, or a run has no tensors.
    """
    for side in (left, right):
        if not side.tensors:
            raise TraceError("A run without tensors of numbers cannot be compared: record a forward pass.")
    meeting = Meeting(*put_together(left, right), chosen)
    paired = pairing(meeting, max(coarsest(side.tensors) for side in (left, right)), names)
    prefixes = paired.prefixes if paired.by_path else None
    before = prerequisites(meeting, prefixes)
    reasons = Reasons(meeting, before, paired.prefixes)
    judgement = Judgement(meeting, paired, reasons.known)
    made = _Report(meeting, paired, judgement, reasons)
    reason = _incomparable(meeting, prefixes, judgement)
    if reason:
        return made.answer(INCOMPARABLE, sentences.incomparable(reason))
    return made.decided()


def _incomparable(meeting: Meeting, prefixes: tuple[str, str] | None, judgement: Judgement) -> str:
    """Why the numbers of two runs tell nothing, empty if they do."""
    left, right = meeting.sides
    if (
        isinstance(left, TraceSide)
        and isinstance(right, TraceSide)
        and same_weights.incomparable(left, right, prefixes)
    ):
        return "most of their weight matrices are other ones"
    if not judgement.pairs:
        return "no tensor of one has its counterpart in the other"
    return ""


class _Report:
    """Puts the answer together."""

    def __init__(self, meeting: Meeting, paired: Pairing, judgement: Judgement, reasons: Reasons) -> None:
        self._meeting, self._paired, self._judgement, self._reasons = meeting, paired, judgement, reasons

    def decided(self) -> Comparison:
        """The answer where the runs can be compared."""
        pairs, born = self._judgement.pairs, self._judgement.born
        counts = self._counts()
        lost = self._judgement.swallowed
        if not born and lost:
            told = self._born(pairs[lost[0]])
            return self.answer(UNDECIDED, sentences.swallowed(told, pairs[lost[0]].unit), told)
        if not born:
            if counts.compared == counts.equal:
                return self.answer(EQUAL, sentences.equal(counts))
            return self.answer(ROUNDING, sentences.rounding(counts, pairs))
        sure = [at for at in born if pairs[at].status == BORN]
        first = pairs[(sure or born)[0]]
        told = self._born(first)
        if sure:
            return self.answer(DIFFERS, sentences.differs(told, len(sure) - 1), told)
        return self.answer(UNDECIDED, sentences.undecided(told, first.unit), told)

    def answer(self, verdict: str, sentence: str, first: BornDifference | None = None) -> Comparison:
        """An answer with all that was found."""
        pairs = self._judgement.pairs
        return Comparison(
            verdict, sentence, tuple(self._reasons.before), first,
            tuple(self._born(pairs[at]) for at in self._judgement.born),
            tuple(self._layers()), self._counts(),
            tuple(self._tensor_pair(pair) for pair in pairs),
            tuple(self._born(pair) for pair in pairs if pair.status == HEALED),
            tuple(self._unpaired()), self._meeting.slots.left, self._meeting.slots.right,
        )  # fmt: skip

    def _counts(self) -> PairCounts:
        statuses = [pair.status for pair in self._judgement.pairs]
        counts = {status: statuses.count(status) for status in (SAME, WITHIN, INHERITED, BORN, UNSURE, HEALED)}
        lost = len(self._paired.pairs) - len(statuses)
        return PairCounts(
            len(statuses), counts[SAME], counts[WITHIN], counts[INHERITED], counts[BORN] + counts[UNSURE],
            counts[HEALED], sum(self._paired.unpaired) + lost,
        )  # fmt: skip

    def _born(self, pair: Judged) -> BornDifference:
        left, right = self._places(pair)
        difference = pair.distance.most if pair.local is None else pair.local
        return BornDifference(left, right, difference, pair.bound, self._reasons.of(pair))

    def _tensor_pair(self, pair: Judged) -> TensorPair:
        left, right = self._places(pair)
        note = "the same numbers in another order" if pair.distance.permuted else ""
        distance = pair.distance
        return TensorPair(
            left, right, pair.status, distance.most, pair.bound, self._layer(pair), distance.measured, note,
            distance.tokens, distance.by_token, distance.estimated,
        )  # fmt: skip

    def _unpaired(self) -> Iterator[Unpaired]:
        """The tensors that are in no pair, by the pair before which they were made."""
        pairs = self._judgement.pairs
        for right, side in enumerate(self._meeting.sides):
            places = [pair.right if right else pair.left for pair in pairs]
            paired = {made.number for place in places for made in place.made.values()}
            orders = np.maximum.accumulate([place.order for place in places]) if places else np.zeros(0)
            for made in side.tensors:
                if made.number not in paired:
                    yield Unpaired(place_of(side, made), bool(right), int(np.searchsorted(orders, made.order)))

    def _places(self, pair: Judged) -> tuple[Place, Place]:
        return self._place(False, pair), self._place(True, pair)

    def _place(self, right: bool, pair: Judged) -> Place:
        side, at = self._meeting.sides[right], pair.distance.at
        made = (pair.right if right else pair.left).made
        chosen, row, token = next(iter(made.values())), None, None
        if 0 <= at < len(self._meeting.slots):
            forward, row, _, token = self._meeting.slots.side(right)[at].tolist()
            chosen = made.get(forward, chosen)
            token = None if self._meeting.by_row else token
        return place_of(side, chosen, row, token)

    def _layer(self, pair: Judged) -> int | None:
        side, step = self._meeting.sides[0], pair.left.first.step
        return layer(side.trace, step) if isinstance(side, TraceSide) and step is not None else None

    def _layers(self) -> list[LayerDifference]:
        """By layer, how much its steps add and how far apart its inputs are."""
        pairs = self._judgement.pairs
        layers = [self._layer(pair) for pair in pairs]
        inside: dict[int, list[Judged]] = {}
        for pair, number in zip(pairs, layers, strict=True):
            if number is not None:
                inside.setdefault(number, []).append(pair)
        found = []
        for number, own in sorted(inside.items()):
            outside = [pairs[at].distance.most for pair in own for at in pair.inputs if layers[at] != number]
            added = [_added(pair) for pair in own if pair.status != INHERITED]
            found.append(LayerDifference(number, max(added, default=None), max(outside, default=None)))
        return found


def _added(pair: Judged) -> float:
    """How much a step adds to the difference."""
    return max(0.0, pair.distance.most - pair.came_in) if pair.local is None else pair.local


def place_of(side: Side, made: Made, row: int | None = None, token: int | None = None) -> Place:
    """Where a tensor was made: of one that a call's arguments made, the line that they stand in."""
    if made.step is None or not isinstance(side, TraceSide):
        return Place(None, made.name, None, None, None, None, "", made.name, row, token)
    trace, at, tensor = side.trace, made.step, made.name
    if side.took(made):
        above = trace.parent(at)
        if above is not None and trace.column("kind")[above] == schema.LINE:
            called = str(trace.column("name")[at] or "").rpartition(".")[2]
            at, tensor = above, f"{tensor} of {called}"
    kind, name, type_, file = (trace.column(key)[at] for key in ("kind", "name", "type", "file"))
    line = trace.column("line")[at]
    number = int(line) if line == line and line is not None else None
    text = trace.source(file)
    said = text[number - 1].strip() if number is not None and 0 < number <= len(text) else ""
    step = int(trace.column("step")[at])
    return Place(step, str(name or ""), kind, type_, file, number, said, tensor, row, token, at)
