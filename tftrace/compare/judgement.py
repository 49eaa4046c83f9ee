"""Which differences are born, which are inherited, and which heal again before the answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..trace import schema
from . import lasting, noise
from .alignment.meeting import Meeting
from .alignment.pairing import Pairing, coarsest
from .alignment.paths import Place
from .alignment.side import Made, Side, TraceSide
from .judged_pair import BORN, DIFFERING, HEALED, INHERITED, SAME, UNSURE, WITHIN, Judged
from .pair_sources import PairSources

_NO_ANSWER = re.compile(r"cache|past|mems|hidden_states|attentions|encoder_last_hidden_state|\bstates?\b", re.I)
_MASK = re.compile(r"mask|bias$", re.IGNORECASE)
_FILLED = 1e30  # a tensor with numbers of this size is a mask
_EMPTY = re.compile(r"\b(new_)?empty(_like|_strided)?\(")  # memory for numbers that are not there yet
_LITTLE = 2.0  # times that a result may be smaller than what it was made of, with nothing cancelled
_SMALL = 0.05  # differences up to which what a step adds can be told from what came in

Known = Callable[[Judged], bool]


class Judgement:
    """All pairs, judged in the order in which they were made.

    Attributes:
        pairs: the pairs that could be compared.
        answers: indices of those that are the model's answer.
        reaching: indices of the pairs whose difference reaches an answer.
    """

    def __init__(self, meeting: Meeting, paired: Pairing, known: Known) -> None:
        self._meeting, self._known = meeting, known
        self.pairs = self._compared(paired)
        self._sources = PairSources(meeting, self.pairs, paired.prefixes if paired.by_path else None)
        self._mixed = len({coarsest(side.tensors) for side in meeting.sides}) > 1
        self._swallowed: frozenset[int] = frozenset()
        for at, pair in enumerate(self.pairs):
            self._judge(at, pair)
        self.answers = self._answers()
        self.reaching = self._reaching()
        for at, pair in enumerate(self.pairs):
            if pair.status in (BORN, UNSURE) and at not in self.reaching:
                pair.status = HEALED

    @property
    def swallowed(self) -> list[int]:
        """The pairs whose difference was born and is lost in the roundings of half precision before the answer."""
        found = [at for at in sorted(self._swallowed) if self.pairs[at].status == HEALED]
        return [at for at in found if self.pairs[at].distance.most > self.pairs[at].bound]

    @property
    def born(self) -> list[int]:
        """The pairs whose difference was born and reaches the answer, in order."""
        return [at for at in sorted(self.reaching) if self.pairs[at].status in (BORN, UNSURE)]

    def _compared(self, paired: Pairing) -> list[Judged]:
        found = []
        unit = 0.0
        for left, right in paired.pairs:
            if _is_mask(left.first) or _is_mask(right.first) or self._is_empty(left, right):
                continue
            distance = self._meeting.distance(left.made, right.made, self._encodes(left))
            unit = max(unit, left.first.unit, right.first.unit)
            if distance is not None and not (distance.other_tokens and distance.most > unit**0.5):  # a sum over them
                found.append(Judged(left, right, distance, unit))
        return found

    def _is_empty(self, *places: Place) -> bool:
        """Whether a line only took memory, in which stands whatever stood there before."""
        sides = zip(self._meeting.sides, places, strict=True)
        return any(bool(_EMPTY.search(_line(side, place))) for side, place in sides)

    def _encodes(self, place: Place) -> bool:
        """Whether a place is in the encoder of a model that has a decoder, too."""
        side, step = self._meeting.sides[0], place.first.step
        if step is None or not isinstance(side, TraceSide):
            return False
        name = str(side.trace.column("name")[step] or "")
        return "encoder" in name and "decoder" not in name

    def _judge(self, at: int, pair: Judged) -> None:
        pair.inputs = self._sources.of(at)
        inputs = [self.pairs[one] for one in pair.inputs]
        pair.unit = self._unit(at, pair, inputs)
        pair.came_in = max((one.distance.most for one in inputs), default=0.0)
        what, largest = self._what(pair), max((_largest(one.left.first) for one in inputs), default=0.0)
        noises = [one.noise for one in inputs]
        mixed = pair.left.first.dtype != pair.right.first.dtype
        pair.bound = noise.bound(pair.unit, noises, what, largest, mixed)
        differing = [one for one in inputs if one.status in DIFFERING]
        most, half = pair.distance.most, noise.half_precision(pair.unit)
        pair.bound *= (1.0 if half else noise.FEW) * self._cancelled(pair, inputs)
        if pair.distance.estimated:
            pair.bound *= noise.ESTIMATED
        grown = noise.grown(pair.unit, noises, what, largest)
        if differing and self._heals(pair, differing, what, grown):
            pair.status, pair.noise = (SAME if pair.distance.equal else WITHIN), grown
        elif pair.distance.equal:
            pair.status = SAME
        elif differing and not self._adds(pair):
            pair.status, pair.noise = INHERITED, grown
            if self._known(pair) and (local := self._local(pair)) > pair.bound:
                pair.status, pair.local = BORN, local
        elif most <= pair.bound and not self._known(pair):
            pair.status, pair.noise = WITHIN, most
            if not pair.distance.measured:  # statistics tell less than the numbers do
                pair.noise = max(most, pair.unit)
        else:
            pair.status, pair.noise = BORN, grown
            doubtful = half and pair.bound < most <= noise.FEW * pair.bound
            if (doubtful and not self._known(pair)) or self._sources.chose_otherwise(at):
                pair.status = UNSURE
        pair.sources = self._carried(at, pair)

    def _unit(self, at: int, pair: Judged, inputs: list[Judged]) -> float:
        """Unit roundoff of a step: of the coarsest numbers before it. But a line that computes in a finer dtype, from
        numbers of one or from such as are equal in both runs, rounds by that."""
        lines = [_line(side, place) for side, place in zip(self._meeting.sides, (pair.left, pair.right), strict=True)]
        own = max(pair.left.first.unit, pair.right.first.unit)
        if self._mixed or own >= pair.unit or not all(lines):
            return pair.unit
        if self._sources.counted(at):
            return own
        own = max([own, *(made.unit for one in inputs for made in (one.left.first, one.right.first))])
        finer = all(one.distance.equal or one.unit <= own for one in inputs)
        return own if inputs and finer else pair.unit

    def _cancelled(self, pair: Judged, inputs: list[Judged]) -> float:
        """How many times more a step's rounding counts, because most of what it added up cancelled."""
        side, made = self._meeting.sides[0], pair.left.first
        if not isinstance(side, TraceSide) or made.step is None or not inputs:
            return 1.0
        weight = side.weight(made.step)
        times = noise.cancelled(_returned(side, made.step), made, [one.left.first for one in inputs], weight)
        return times if times > _LITTLE else 1.0

    def _carried(self, at: int, pair: Judged) -> frozenset[int]:
        """The differences that a differing pair carries on, by the pairs where they were born."""
        if pair.status not in DIFFERING:
            return frozenset()
        own = frozenset({at}) if pair.status != INHERITED else frozenset()
        return own.union(*(self.pairs[one].sources for one in pair.inputs))

    def _heals(self, pair: Judged, differing: list[Judged], what: str, grown: float) -> bool:
        """Whether a difference that came in is gone. One that had become faint before cannot be seen to heal, and one
        that the result's own roundings swallow has not healed."""
        if pair.distance.most > noise.healed(pair.unit, grown):
            return False
        clear = [one for one in differing if one.distance.most > one.bound]
        attends = bool(lasting.ATTENDS.search(what))
        if not pair.distance.equal:
            if not clear or lasting.passed_on(pair, clear):
                return False
            if attends and lasting.attends_otherwise(self._meeting, pair, [self.pairs[at] for at in pair.inputs]):
                return False
        gone = clear or differing
        hidden = pair.distance.most > noise.bound(pair.unit, []) or lasting.swallowed(pair, gone)
        if noise.half_precision(pair.unit) and not attends and hidden:
            self._swallowed |= frozenset().union(*(one.sources for one in gone))
        return True

    def _local(self, pair: Judged) -> float:
        """What a step with other weights adds to what came in: unrelated errors add as squares."""
        return float(max(pair.distance.most**2 - pair.came_in**2, 0.0) ** 0.5)

    def _adds(self, pair: Judged) -> bool:
        """Whether a step adds much more to a difference than came in."""
        most = pair.distance.most
        return pair.came_in < _SMALL and most > max(pair.bound, noise.bound(pair.unit, [4 * pair.came_in]))

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
        """The pairs of what the outermost calls returned, and the last one that has numbers for every token."""
        found: set[int] = set()
        for side in (0, 1):
            found |= set(self._returned(side))
        size = len(self._meeting.slots)
        whole = [at for at, pair in enumerate(self.pairs) if size and pair.distance.count == size]
        found |= set(whole[-1:])
        return sorted(found) or ([len(self.pairs) - 1] if self.pairs else [])

    def _returned(self, side: int) -> list[int]:
        run = self._meeting.sides[side]
        if not isinstance(run, TraceSide):
            return []
        roots = {at for at in range(len(run.trace)) if run.trace.parents[at] < 0} if len(run.trace) else set()
        rows = [row for row in run.rows if row.step in roots and row.role == schema.OUTPUT]
        main = [row for row in rows if not _NO_ANSWER.search(row.name)] or rows
        index = self._sources.index[side]
        return [index[row.number] for row in main if row.number in index]

    def _reaching(self) -> set[int]:
        """The pairs that differ and from which a chain of differing pairs leads to an answer that differs."""
        waiting = [at for at in self.answers if self.pairs[at].status in DIFFERING and not self._is_rounded(at)]
        found = set(waiting)
        while waiting:
            for source in self.pairs[waiting.pop()].inputs:
                if source not in found and self.pairs[source].status in DIFFERING:
                    found.add(source)
                    waiting.append(source)
        return found

    def _is_rounded(self, at: int) -> bool:
        """Whether an answer differs by no more than roundings, although a difference came in of which nothing is known.
        In half precision roundings hide much."""
        pair = self.pairs[at]
        if not pair.distance.measured or noise.half_precision(pair.unit):
            return False
        if pair.distance.most > noise.FEW * noise.bound(pair.unit, []):
            return False
        return not any(self._known(self.pairs[source]) for source in pair.sources)


def _largest(made: Made) -> float:
    """The largest number of a tensor, in size."""
    return max((abs(one) for one in made.statistics[2:4] if one == one), default=0.0)


def _is_mask(made: Made) -> bool:
    """Whether a tensor hides keys rather than holding numbers."""
    least, most = made.statistics[2:4]
    return abs(least) > _FILLED or abs(most) > _FILLED or (made.nonfinite > 0 and bool(_MASK.search(made.name)))


def _line(side: Side, place: Place) -> str:
    """The text of the line that made a tensor; empty where a call did."""
    step = place.first.step
    if not isinstance(side, TraceSide) or step is None or side.trace.column("kind")[step] != schema.LINE:
        return ""
    return _text(side, step)


def _returned(side: TraceSide, step: int) -> str:
    """The text of a line, or of the last line of a call."""
    kinds = side.trace.column("kind")
    if kinds[step] == schema.LINE:
        return _text(side, step)
    return next((_text(side, at) for at in reversed(side.trace.children(step)) if kinds[at] == schema.LINE), "")


def _text(side: TraceSide, step: int) -> str:
    line, file = side.trace.column("line")[step], side.trace.column("file")[step]
    if not line >= 1:  # NaN, too, which stands for a line that is not known
        return ""
    return "".join(side.trace.source(file)[int(line) - 1 : int(line)]).strip()
