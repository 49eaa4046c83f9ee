"""Which token of one run is which of the other: row by row, by position among the tokens that are not masked.

A forward pass that goes on with a cache has the next tokens of the row, so that a generation is one row of tokens,
as is the one forward of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import TraceError
from .forward_tokens import Forward

SAME_TOKENS, SAME_END, OTHER_TOKENS = range(3)  # what two forwards see of a pair of rows


@dataclass(frozen=True, slots=True)
class Token:
    """Where a token stands: in which forward, at which place of its batch and of its tokens, and in the cache."""

    forward: int
    row: int
    at: int
    key: int
    id: int | None
    seen: bool = True  # not masked


@dataclass(slots=True)
class Slots:
    """Pairs of tokens: for either run the forward, row, place and key of each, as arrays of equal length."""

    left: np.ndarray  # pairs × (forward, row, at, key)
    right: np.ndarray
    starts: list[int] = field(default_factory=list)  # where each pair of rows begins
    apart: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # SAME_TOKENS, SAME_END or OTHER_TOKENS

    def __len__(self) -> int:
        return len(self.left)

    def side(self, right: bool) -> np.ndarray:
        """The places in one of the runs."""
        return self.right if right else self.left


def rows(found: Sequence[Forward], encoder: bool = False) -> list[list[Token]]:
    """The rows of tokens, with those that are masked."""
    made: list[list[Token]] = []
    running: list[list[Token]] = []
    masks: list[np.ndarray | None] = []
    for forward in found:
        stream = forward.encoder if encoder else forward.main
        if stream is None:
            continue
        if encoder or not forward.past or len(running) != stream.batch:
            running, masks = [[] for _ in range(stream.batch)], [None] * stream.batch
            made += running
        elif forward.parents is not None:
            running = [list(running[at]) for at in forward.parents]
            made[-len(running) :] = running
        past = 0 if encoder else forward.past
        for row, tokens in enumerate(running):
            tokens[:] = [one for one in tokens if one.key < past]  # the others were drafted, and rejected
            for at in range(stream.tokens):
                known = None if stream.ids is None else int(stream.ids[row, at])
                tokens.append(Token(forward.number, row, at, past + at, known))
            masks[row] = stream.mask[row] if stream.mask is not None else masks[row]
            tokens[:] = [_masked(one, masks[row]) for one in tokens]
    return made


def _masked(token: Token, mask: np.ndarray | None) -> Token:
    hidden = mask is not None and token.key < len(mask) and not mask[token.key]
    return replace(token, seen=not hidden) if token.seen == hidden else token


def pair_rows(
    left: Sequence[Sequence[Token]], right: Sequence[Sequence[Token]], chosen: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Which row is which: the chosen ones, else those with the same tokens (one may have more at its end), else, if
    both runs have as many, the rows in order."""
    if chosen is not None:
        for one, side, name in zip(chosen, (left, right), ("first", "second"), strict=True):
            if not 0 <= one < len(side):
                raise TraceError(f"There is no row {one} in the {name} run: it has {len(side)}, numbered from 0.")
        return [chosen]
    pairs: list[tuple[int, int]] = []
    free = list(range(len(right)))
    rest = []
    for at, row in enumerate(left):
        fits = [other for other in free if same_tokens(row, right[other])]
        if fits:
            best = min(fits, key=lambda other: (other != at, abs(len(right[other]) - len(row)), other))
            pairs.append((at, best))
            free.remove(best)
        else:
            rest.append(at)
    if len(left) == len(right) or not pairs:
        pairs += zip(rest, free, strict=False)
    return sorted(pairs)


def slots(
    left: Sequence[Sequence[Token]],
    right: Sequence[Sequence[Token]],
    pairs: Sequence[tuple[int, int]],
    token: tuple[int, int] | None = None,
) -> Slots:
    """The pairs of tokens of these pairs of rows; with `token` only that one of each row of either run."""
    found: tuple[list[Token], list[Token]] = ([], [])
    starts = []
    apart: list[int] = []
    for one, other in pairs:
        starts.append(len(found[0]))
        a, b = together(left[one], right[other])
        if token is not None:
            if token[0] >= len(a) or token[1] >= len(b):
                raise TraceError(f"There is no token {token[0]}:{token[1]}: the rows have {len(a)} and {len(b)}.")
            a, b = [a[token[0]]], [b[token[1]]]
        size = min(len(a), len(b))
        found[0].extend(a[:size])
        found[1].extend(b[:size])
        apart += [SAME_TOKENS] * size if token is not None else _apart(a[:size], b[:size], left[one], right[other])
    places = [np.array([(t.forward, t.row, t.at, t.key) for t in side], np.int64).reshape(-1, 4) for side in found]
    return Slots(places[0], places[1], starts, np.array(apart, int))


def _apart(a: Sequence[Token], b: Sequence[Token], left: Sequence[Token], right: Sequence[Token]) -> list[int]:
    """Of each pair of tokens of two rows, whether the forwards that these are of see the same part of the rows."""
    pairs = set(zip(a, b, strict=True))
    seen = [[token for token in row if token.seen] for row in (left, right)]
    last = [{token.forward: token for token in row} for row in seen]
    first = [{token.forward: token for token in reversed(row)} for row in seen]
    found = []
    for x, y in zip(a, b, strict=True):
        ends, begins = ((one[0][x.forward], one[1][y.forward]) in pairs for one in (last, first))
        found.append(OTHER_TOKENS if not ends else SAME_TOKENS if begins else SAME_END)
    return found


def together(left: Sequence[Token], right: Sequence[Token]) -> tuple[list[Token], list[Token]]:
    """The tokens of two rows that meet: those that are not masked, in order.

    Rows of the same tokens, padding included, of which only one knows a mask, meet place by place."""
    a, b = ([one for one in row if one.seen] for row in (left, right))
    if len(a) != len(b) and len(left) == len(right) and [t.id for t in left] == [t.id for t in right]:
        both = [at for at in range(len(left)) if left[at].seen and right[at].seen]
        return [left[at] for at in both], [right[at] for at in both]
    at = _within([one.id for one in a], [one.id for one in b])
    return (a[at:], b) if at > 0 else (a, b[-at:])


def ahead(left: Sequence[Token], right: Sequence[Token]) -> int:
    """How many tokens that no mask hides the left row has before those of the right; negative if the right has."""
    if len(left) == len(right) and [t.id for t in left] == [t.id for t in right]:
        return 0
    return _within(*([one.id for one in row if one.seen] for row in (left, right)))


def _within(left: Sequence[int | None], right: Sequence[int | None]) -> int:
    """Where the tokens of the shorter row stand in the longer one, padded on the left by what no mask tells: so many
    tokens of the left row come before, or, if negative, of the right. 0 if they begin together, or not at all."""
    shorter, longer, sign = (right, left, 1) if len(left) >= len(right) else (left, right, -1)
    size = len(shorter)
    if not size or shorter[0] is None or longer[:size] == shorter:
        return 0
    return next((sign * at for at in range(1, len(longer) - size + 1) if longer[at : at + size] == shorter), 0)


def same_tokens(left: Sequence[Token], right: Sequence[Token]) -> bool:
    """Whether two rows have the same tokens, but for more at the end of one."""
    if len(left) == len(right) and [t.id for t in left] == [t.id for t in right] and left and left[0].id is not None:
        return True
    a, b = ([one.id for one in row if one.seen] for row in (left, right))
    size = min(len(a), len(b))
    return size > 0 and a[0] is not None and (a[:size] == b[:size] or _within(a, b) != 0)
