"""Where the numbers of two runs meet: the pairs of their tokens, and the distance of two tensors there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import beams, distance, forward_tokens, numbered_tokens, token_pairs
from .distance import Distance, between
from .forward_tokens import Forward
from .layouts import BOTH, KEYS, TOKENS, Layout, Vectors, layouts, likelihood, printed, vectors
from .side import Made, Side, TraceSide
from .token_pairs import SAME_END, SAME_TOKENS, Slots, Token

_CLOSE, _NEAR = 8.0, 1e-3  # units, and relative l2; what is as close as one of them needs no other layout
_BETTER = 0.1  # another layout is taken if the distance is less than this share of that in the likeliest one
_TRIED = 8  # pairs of layouts that are tried

Group = Mapping[int, Made]  # what one place made, by forward pass


@dataclass(slots=True)
class _View:
    """The tokens of the text, or those that an encoder was given."""

    forwards: tuple[dict[int, Forward], dict[int, Forward]]
    slots: Slots


@dataclass(slots=True)
class Chosen:
    """What the user chose: one row and one token of either run."""

    rows: tuple[int, int] | None = None
    tokens: tuple[int, int] | None = None


class Meeting:
    """Two runs and the pairs of their tokens.

    Attributes:
        sides: the two runs.
        rows: the rows of tokens of either run, without those that are masked.
        pairs: which row is which.
        paired_rows: the tokens of the rows that are paired, of the text and of what an encoder was given.
    """

    def __init__(self, left: Side, right: Side, chosen: Chosen | None = None) -> None:
        chosen = chosen or Chosen()
        self.sides = (left, right)
        self.forwards = tuple(
            forward_tokens.forwards(side.trace, side.forwards) if isinstance(side, TraceSide) else []
            for side in self.sides
        )
        for side, found in zip(self.sides, self.forwards, strict=True):
            if isinstance(side, TraceSide):
                beams.give_parents(side, found)
        if isinstance(left, TraceSide) and isinstance(right, TraceSide) and self._unknown() and not self._same_sizes():
            numbered_tokens.number_tokens((left, right), self.forwards)
        self._tell_rows(chosen)
        self.rows: list[list[list[Token]]] = [token_pairs.rows(found) for found in self.forwards]
        self.pairs = token_pairs.pair_rows(self.rows[0], self.rows[1], chosen.rows)
        self.paired_rows = [(self.rows[0][a], self.rows[1][b]) for a, b in self.pairs]
        self._views = [self._view(self.rows, self.pairs, chosen, main=True)]
        encoded = [token_pairs.rows(found, encoder=True) for found in self.forwards]
        if all(encoded):
            pairs = token_pairs.pair_rows(encoded[0], encoded[1], chosen.rows)
            self._views.append(self._view(encoded, pairs, Chosen(), main=False))
            self.paired_rows += [(encoded[0][a], encoded[1][b]) for a, b in pairs]
        self._layouts: dict[object, list[Layout]] = {}
        self._pairs_of_layouts: dict[object, list[tuple[int, Layout, Layout]]] = {}

    def _tell_rows(self, chosen: Chosen) -> None:
        """Let rows meet where no tokens are known: of pictures, if there are more in one of the runs, or some are
        chosen; of a dump, if some are chosen."""
        left, right = self.sides
        if isinstance(left, TraceSide) and isinstance(right, TraceSide):
            mains = [one.main for side in self.forwards for one in side]
            if not any(mains):
                first = [next((one.shape[:1] for one in side.tensors), ()) for side in (left, right)]
                for side, found in zip((left, right), self.forwards, strict=True):
                    if chosen.rows is not None or first[0] != first[1]:
                        forward_tokens.give_rows(side.trace, found)
        elif chosen.rows is not None:
            for at, dump in enumerate(self.sides):
                there = token_pairs.rows(self.forwards[1 - at])
                if not isinstance(dump, TraceSide) and chosen.rows[1 - at] < len(there):
                    row = there[chosen.rows[1 - at]]
                    lengths = [sum(token.seen for token in row), len(row)]
                    self.forwards[at].extend(forward_tokens.of_dump([one.shape for one in dump.tensors], lengths))

    @property
    def by_row(self) -> bool:
        """Whether rows of the batch meet, and no tokens."""
        return any(one.main is not None and one.main.whole for side in self.forwards for one in side)

    @property
    def slots(self) -> Slots:
        """The pairs of tokens."""
        return self._views[0].slots

    @property
    def plain(self) -> bool:
        """Whether every token meets the one of the same place, and none is left out."""
        slots = self.slots
        whole = [sum(one.main.batch * one.main.tokens for one in side if one.main) for side in self.forwards]
        return np.array_equal(slots.left, slots.right) and whole == [len(slots)] * 2

    def distance(self, left: Group, right: Group, encoder: bool = False) -> Distance | None:
        """How far two tensors are apart where they meet; None if they do not have the same numbers of elements there.

        Of several layouts the likeliest is taken, unless another brings the numbers together. `encoder`: whether the
        tokens may be an encoder's."""
        found = self._measured(left, right, encoder)
        if found is not None:
            return found
        return self._by_statistics(left, right)

    def vectors(self, group: Group, right: bool, keys: bool = True) -> Vectors | None:
        """The numbers of a tensor in the likeliest layout; `keys`: whether it may have an axis of keys."""
        view = self._views[0]
        found = self._layouts_of(0, group, right)
        for layout in [one for one in found if keys or KEYS not in one][:1]:
            return vectors(self.sides[right], group, layout, view.forwards[right], view.slots, right)
        return None

    def _measured(self, left: Group, right: Group, encoder: bool) -> Distance | None:
        """The distance by the numbers that were kept, else by prints of the tokens."""
        unit = max(one.unit for one in (*left.values(), *right.values()))
        best: Distance | None = None
        for read in (vectors, printed):
            known: dict[tuple[int, bool, Layout], Vectors | None] = {}

            def look(view: int, right_one: bool, layout: Layout, read: Any = read, known: Any = known) -> Any:
                key = (view, right_one, layout)
                if key not in known:
                    there, group = self._views[view], right if right_one else left
                    known[key] = read(
                        self.sides[right_one], group, layout, there.forwards[right_one], there.slots, right_one
                    )
                return known[key]

            for view, ours, theirs in self._layout_pairs(left, right, encoder):
                if read is printed and KEYS in (*ours, *theirs) and not self.plain:
                    continue  # a print has the numbers of all keys in it
                one, other = look(view, False, ours), look(view, True, theirs)
                found = None if one is None or other is None else between(one, other, self._views[view].slots)
                if found is not None and (best is None or found.most < best.most * _BETTER):
                    best = found
                    if TOKENS not in ours and BOTH not in ours:  # one vector for a row of tokens
                        best = replace(best, count=0)
                    if not {TOKENS, BOTH, KEYS} & {*ours, *theirs}:
                        best = self._of_rows(best, one, other, view)
                        best = replace(best, other_tokens=best.other_tokens or self._told_once(view, left, right))
                    if view:  # pairs of an encoder's tokens have numbers of their own
                        best = distance.elsewhere(best)
                if best is not None and best.most <= max(_CLOSE * unit, _NEAR):
                    return best
            if best is not None:
                return best
            best = self._wholes(left, right)
            if best is not None:
                return best
        return best

    def _of_rows(self, found: Distance, left: Vectors, right: Vectors, view: int) -> Distance:
        """The distance of vectors of which there is one for all tokens of a forward: where those of both runs are the
        same ones, else where they end together, else anywhere."""
        slots = self._views[view].slots
        for apart in (SAME_TOKENS, SAME_END):
            kept = []
            for one in (left, right):
                on = slots.apart[one.at] == apart
                kept.append(replace(one, at=one.at[on], numbers=one.numbers[on]))
            there = between(kept[0], kept[1], slots)
            if there is not None:
                return replace(there, count=0, other_tokens=apart != SAME_TOKENS)
        return replace(found, other_tokens=True)

    def _told_once(self, view: int, left: Group, right: Group) -> bool:
        """Whether an axis is of the tokens in one of two tensors only: the model of the other may have padded them."""
        found = [self._layouts_of(view, group, side) for side, group in ((False, left), (True, right))]
        return len({any(TOKENS in one for one in seen if len(one) > 2) for seen in found}) > 1

    def _wholes(self, left: Group, right: Group) -> Distance | None:
        """The distance of tensors that know no tokens, or none that is told by their sizes."""
        ours, theirs = next(iter(left.values())), next(iter(right.values()))
        if ours.shape != theirs.shape or not (self._may_meet_whole() or self._aligned):
            return None
        arrays = [side.array(made) for side, made in zip(self.sides, (ours, theirs), strict=True)]
        if arrays[0] is None or arrays[1] is None:
            return None
        return distance.of_wholes(arrays[0], arrays[1])

    @property
    def _aligned(self) -> bool:
        """Whether every token that is seen meets the one of the same place, in batches of one size."""
        return np.array_equal(self.slots.left, self.slots.right) and self._same_sizes()

    def _may_meet_whole(self) -> bool:
        return not len(self.slots) or self.plain

    def _by_statistics(self, left: Group, right: Group) -> Distance | None:
        """What statistics tell of two tensors that meet as wholes, in every forward pass that both have."""
        if not self._may_meet_whole() and not (self._unknown() and self._same_sizes()):
            return None
        ours, theirs = list(left.values()), list(right.values())
        if len(ours) != len(theirs) or any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
            return None if len(ours) != 1 or len(theirs) != 1 else distance.by_statistics(ours[0], theirs[0])
        found = [distance.by_statistics(a, b) for a, b in zip(ours, theirs, strict=True)]
        known = [one for one in found if one is not None]
        if len(known) != len(found):
            return None
        worst = max(known, key=lambda one: one.most)
        return Distance(worst.most, equal=all(one.equal for one in known), measured=False)

    def _unknown(self) -> bool:
        """Whether the ids of the tokens were not kept, so that only sizes can tell what meets."""
        return all(one.main is None or one.main.ids is None for side in self.forwards for one in side)

    def _same_sizes(self) -> bool:
        sizes = [[(one.main.batch, one.main.tokens) for one in side if one.main] for side in self.forwards]
        return sizes[0] == sizes[1]

    def _layout_pairs(self, left: Group, right: Group, encoder: bool) -> list[tuple[int, Layout, Layout]]:
        """Layouts in which two tensors may meet, the likeliest first: the same in both, else any."""
        shapes = [tuple((number, made.shape) for number, made in group.items()) for group in (left, right)]
        key = (encoder, *shapes)
        if key not in self._pairs_of_layouts:
            self._pairs_of_layouts[key] = self._combined(left, right, encoder)
        return self._pairs_of_layouts[key]

    def _combined(self, left: Group, right: Group, encoder: bool) -> list[tuple[int, Layout, Layout]]:
        views = range(len(self._views))[:: -1 if encoder else 1]
        found = []
        for rank, view in enumerate(views):
            ours, theirs = (self._layouts_of(view, group, side) for side, group in ((False, left), (True, right)))
            for a in ours:
                for b in theirs:
                    worth = [x + y for x, y in zip(likelihood(a), likelihood(b), strict=True)]
                    found.append(((worth[0], -rank, a == b, *worth[1:]), view, a, b))
        found.sort(key=lambda one: one[0], reverse=True)
        return [(view, a, b) for _, view, a, b in found[:_TRIED]]

    def _layouts_of(self, view: int, group: Group, right: bool) -> list[Layout]:
        key = (view, right, tuple((number, made.shape) for number, made in group.items()))
        if key not in self._layouts:
            self._layouts[key] = layouts(group, self._views[view].forwards[right])
        return self._layouts[key]

    def _view(
        self, rows: Sequence[list[list[Token]]], pairs: list[tuple[int, int]], chosen: Chosen, main: bool
    ) -> _View:
        forwards = []
        for side in self.forwards:
            found = side if main else [Forward(one.number, one.encoder) for one in side if one.encoder]
            forwards.append({one.number: one for one in found})
        return _View((forwards[0], forwards[1]), token_pairs.slots(rows[0], rows[1], pairs, chosen.tokens))
