"""Which differences are born, which are inherited, and which heal again before the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..flow import MadeFrom
from ..trace import schema
from . import noise
from .alignment.distance import Distance
from .alignment.meeting import Meeting
from .alignment.pairing import Pairing
from .alignment.paths import Place
from .alignment.side import Made, TraceSide

SAME, WITHIN, INHERITED, BORN, UNSURE, HEALED = "equal", "rounding", "inherited", "born", "undecided", "healed"
DIFFERING = (INHERITED, BORN, UNSURE)
_NO_ANSWER = re.compile(r"cache|past|mems|hidden_states|attentions|encoder_last_hidden_state|\bstates?\b", re.I)
_MASK = re.compile(r"mask|bias$", re.IGNORECASE)
_FILLED = 1e30  # a tensor with numbers of this size is a mask
_SMALL = 0.05  # differences up to which what a step adds can be told from what came in
_GONE = 30.0  # how many times smaller than what came in a difference is that is gone: another passes through
_HOPS = 60  # unpaired tensors that are looked through for what a tensor was made from


@dataclass(slots=True, eq=False)
class Judged:
    """A pair of tensors, how far apart they are, and why."""

    left: Place
    right: Place
    distance: Distance
    unit: float
    status: str = SAME
    bound: float = 0.0
    noise: float = 0.0  # how far apart rounding alone may have brought them
    came_in: float = 0.0  # how far apart the inputs are
    inputs: list[int] = field(default_factory=list)  # pairs that this one was made from


class Judgement:
    """All pairs, judged in the order in which they were made.

    Attributes:
        pairs: the pairs that could be compared.
        answers: indices of those that are the model's answer.
        reaching: indices of the pairs whose difference reaches an answer.
    """

    def __init__(self, meeting: Meeting, paired: Pairing) -> None:
        self._meeting = meeting
        self.pairs = self._compared(paired)
        self._index = [self._indices(side) for side in (0, 1)]
        self._made_from = [MadeFrom(side.trace) if isinstance(side, TraceSide) else None for side in meeting.sides]
        for at, pair in enumerate(self.pairs):
            self._judge(at, pair)
        self.answers = self._answers()
        self.reaching = self._reaching()
        for at, pair in enumerate(self.pairs):
            if pair.status in (BORN, UNSURE) and at not in self.reaching:
                pair.status = HEALED

    @property
    def born(self) -> list[int]:
        """The pairs whose difference was born and reaches the answer, in order."""
        return [at for at in sorted(self.reaching) if self.pairs[at].status in (BORN, UNSURE)]

    def _compared(self, paired: Pairing) -> list[Judged]:
        found = []
        coarsest = 0.0
        for left, right in paired.pairs:
            if _is_mask(left.first) or _is_mask(right.first):
                continue
            distance = self._meeting.distance(left.made, right.made, self._encodes(left))
            coarsest = max(coarsest, left.first.unit, right.first.unit)
            if distance is not None:
                found.append(Judged(left, right, distance, coarsest))
        return found

    def _encodes(self, place: Place) -> bool:
        """Whether a place is in the encoder of a model that has a decoder, too."""
        side, step = self._meeting.sides[0], place.first.step
        if step is None or not isinstance(side, TraceSide):
            return False
        name = str(side.trace.column("name")[step] or "")
        return "encoder" in name and "decoder" not in name

    def _indices(self, side: int) -> dict[int, int]:
        """For each tensor's number the first pair that it is in."""
        found: dict[int, int] = {}
        for at, pair in enumerate(self.pairs):
            for made in (pair.left, pair.right)[side].made.values():
                found.setdefault(made.number, at)
        return found

    # -- what a pair was made from ------------------------------------------------------------------------

    def _inputs(self, at: int) -> list[int]:
        """The pairs that a pair was made from, in either run, looked for behind tensors that have no counterpart."""
        pair = self.pairs[at]
        found: dict[int, None] = {}
        for side, place in enumerate((pair.left, pair.right)):
            for made in place.made.values():
                found.update(dict.fromkeys(self._sources(side, made.number, made.step)))
        return [one for one in found if one < at]

    def _sources(self, side: int, number: int, step: int | None) -> Iterable[int]:
        made_from = self._made_from[side]
        if made_from is None or step is None:
            return []
        found: dict[int, None] = {}
        seen = {number}
        waiting = [(number, step)]
        for _ in range(_HOPS):
            if not waiting:
                break
            for source, where in made_from.of(*waiting.pop(0)):
                if source in self._index[side]:
                    found.setdefault(self._index[side][source])
                elif source not in seen:
                    seen.add(source)
                    waiting.append((source, where))
        return found

    def _judge(self, at: int, pair: Judged) -> None:
        pair.inputs = self._inputs(at)
        inputs = [self.pairs[one] for one in pair.inputs]
        pair.came_in = max((one.distance.most for one in inputs), default=0.0)
        pair.bound = noise.bound(pair.unit, [one.noise for one in inputs], self._what(pair))
        came_in = [one.distance.most for one in inputs if one.status in DIFFERING]
        most, half = pair.distance.most, noise.half_precision(pair.unit)
        if not half:
            pair.bound *= noise.FEW
        if pair.distance.equal:
            pair.status = SAME
        elif most <= (min(pair.bound, max(min(came_in) / _GONE, noise.own(pair.unit))) if came_in else pair.bound):
            pair.status, pair.noise = WITHIN, most
            if not pair.distance.measured:  # statistics tell less than the numbers do
                pair.noise = max(most, pair.unit)
        else:
            pair.status = INHERITED if came_in and not self._adds(pair) else BORN
            pair.noise = max((one.noise for one in inputs), default=0.0) + pair.unit
            if pair.status == BORN and half and most <= noise.FEW * pair.bound:
                pair.status = UNSURE

    def _adds(self, pair: Judged) -> bool:
        """Whether a step adds much more to a difference than came in."""
        return pair.came_in < _SMALL and pair.distance.most > noise.bound(pair.unit, [4 * pair.came_in], "")

    def _what(self, pair: Judged) -> str:
        """What tells how a step treats rounding: its name, class and text."""
        said = []
        for side, place in zip(self._meeting.sides, (pair.left, pair.right), strict=True):
            step = place.first.step
            if isinstance(side, TraceSide) and step is not None:
                trace = side.trace
                said += [str(trace.column(name)[step] or "").rpartition(".")[2] for name in ("name", "type")]
                said.append(_text(side, step))
        return " ".join(said)

    # -- the answer ---------------------------------------------------------------------------------------

    def _answers(self) -> list[int]:
        """The pairs of what the outermost calls returned; without such, the last pair."""
        found: set[int] = set()
        for side in (0, 1):
            found |= set(self._returned(side))
        return sorted(found) or ([len(self.pairs) - 1] if self.pairs else [])

    def _returned(self, side: int) -> list[int]:
        run = self._meeting.sides[side]
        if not isinstance(run, TraceSide):
            return []
        roots = {at for at in range(len(run.trace)) if run.trace.parents[at] < 0} if len(run.trace) else set()
        rows = [row for row in run.rows if row.step in roots and row.role == schema.OUTPUT]
        main = [row for row in rows if not _NO_ANSWER.search(row.name)] or rows
        index = self._index[side]
        return [index[row.number] for row in main if row.number in index]

    def _reaching(self) -> set[int]:
        """The pairs that differ and from which a chain of differing pairs leads to an answer that differs."""
        waiting = [at for at in self.answers if self.pairs[at].status in DIFFERING]
        found = set(waiting)
        while waiting:
            for source in self.pairs[waiting.pop()].inputs:
                if source not in found and self.pairs[source].status in DIFFERING:
                    found.add(source)
                    waiting.append(source)
        return found


def _is_mask(made: Made) -> bool:
    """Whether a tensor hides keys rather than holding numbers."""
    least, most = made.statistics[2:4]
    return abs(least) > _FILLED or abs(most) > _FILLED or (made.nonfinite > 0 and bool(_MASK.search(made.name)))


def _text(side: TraceSide, step: int) -> str:
    line, file = side.trace.column("line")[step], side.trace.column("file")[step]
    lines = side.trace.source(file) if line == line and line is not None else []
    return lines[int(line) - 1].strip() if 0 < int(line or 0) <= len(lines) else ""


def differing(pairs: Sequence[Judged]) -> bool:
    """Whether any of some pairs differs."""
    return any(pair.status in DIFFERING for pair in pairs)
