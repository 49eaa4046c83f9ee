"""Which token of one run is which of the other: row by row, by position among the tokens that are not masked.

A forward pass that goes on with a cache has the next tokens of the row, so that a generation is one row of tokens,
as is the one forward of all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np

from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from ...trace.values import read_value

_IDS = re.compile(r"(^|_)(input_ids|ids|tokens|token_ids|idx)$|^(input|inputs|x|src|tokens)$")
_DECODER = re.compile(r"^decoder_(input_)?ids$|^(tgt|y)$")
_NO_IDS = re.compile(r"mask|position|type|label|segment|cache|past|size|shape|grid|length", re.IGNORECASE)
CACHE = re.compile(r"(past|cache|mems)", re.IGNORECASE)
SAME_TOKENS, SAME_END, OTHER_TOKENS = range(3)  # what two forwards see of a pair of rows
_WHOLE = re.compile(r"u?int\d+|long")


@dataclass(slots=True)
class Stream:
    """The tokens that went into a forward pass, or of an encoder-decoder model into its encoder."""

    batch: int
    tokens: int
    ids: np.ndarray | None = None  # batch × tokens
    mask: np.ndarray | None = None  # batch × keys, true for what is seen
    whole: bool = False  # each row is one vector, since there are no tokens


@dataclass(slots=True)
class Forward:
    """A forward pass: its tokens, and how many that came before are in its cache."""

    number: int
    main: Stream | None
    encoder: Stream | None = None
    held: int = 0  # how many keys its cache had room for; 0 without one
    past: int = 0
    parents: list[int] | None = None  # the rows of the one before that its rows go on with, where these changed places

    @property
    def keys(self) -> int:
        """Number of keys that its attention sees."""
        return self.past + (self.main.tokens if self.main else 0)


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


def forwards(trace: Trace, numbers: Sequence[int]) -> list[Forward]:
    """The forward passes of these numbers, as their outermost calls tell."""
    roots: dict[int, int] = {}
    column = trace.column("forward")
    for at in np.flatnonzero(trace.parents < 0).tolist():
        if column[at] == column[at]:
            roots.setdefault(int(column[at]), at)
    found: list[Forward] = []
    for number in numbers:
        if number in roots:
            found.append(_forward(trace, roots[number], number))
    _continue(found)
    return found


def give_rows(trace: Trace, found: Sequence[Forward]) -> None:
    """Let each row of the batch be one token, where a model is given no tokens: pictures, sound."""
    roots = {int(n): at for at, n in enumerate(trace.column("forward")) if n == n and trace.parents[at] < 0}
    for forward in found:
        given = [row for row in trace.tensors_of(roots[forward.number]) if row.role == schema.INPUT]
        row = next((row for row in given if len(row.shape) > 1 and "float" in row.dtype), None)
        if row is not None:
            forward.main = Stream(row.shape[0], 1, whole=True)


def of_dump(shapes: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> list[Forward]:
    """A dump as a forward pass of some rows of the first of these lengths that its arrays have an axis of."""
    for tokens in lengths:
        batches = [1 if shape[0] == tokens else shape[0] for shape in shapes if len(shape) > 1 and tokens in shape]
        if batches:
            return [Forward(0, Stream(max(set(batches), key=batches.count), tokens))]
    return []


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


def _forward(trace: Trace, root: int, number: int) -> Forward:
    given = [row for row in trace.tensors_of(root) if row.role == schema.INPUT]
    main, encoder = _streams(trace, given)
    if main is None:
        main = _embedded(trace, root) or _by_size(given)
    held = [row.shape[2] for row in given if CACHE.search(row.name) and row.numel and len(row.shape) == 4]
    return Forward(number, main, encoder, max(held, default=0))


def _streams(trace: Trace, given: list[TensorRow]) -> tuple[Stream | None, Stream | None]:
    """The tokens of the text, and of an encoder-decoder model the decoder's first."""
    whole = [row for row in given if _WHOLE.fullmatch(row.dtype) and len(row.shape) == 2]
    ids = [row for row in whole if not _NO_IDS.search(row.name)]
    decoder = next((row for row in ids if _DECODER.search(row.name)), None)
    text = next((row for row in ids if _IDS.search(row.name) and row is not decoder), None)
    text = text or next((row for row in ids if row is not decoder), None)
    if decoder is None and len(ids) == 2 and text is ids[0]:  # of two texts the second is what a decoder is given
        decoder = ids[1]
    main = _stream(trace, decoder or text, given, "decoder_attention_mask" if decoder else "attention_mask")
    return main, _stream(trace, text, given, "attention_mask") if decoder and text else None


def _stream(trace: Trace, row: TensorRow | None, given: list[TensorRow], mask: str) -> Stream | None:
    if row is None:
        return None
    batch, tokens = row.shape
    return Stream(batch, tokens, _value(trace, row), _mask(trace, given, mask, row.shape))


def _mask(trace: Trace, given: list[TensorRow], name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of that name, where it hides whole tokens of its rows."""
    for row in given:
        named = row.name == name or (name == "attention_mask" and row.name in ("mask", "pad_mask"))
        if named and len(row.shape) == 2 and row.shape[0] == shape[0] and row.shape[1] >= shape[1]:
            found = _value(trace, row)
            if found is not None and found.dtype.kind in "biuf" and set(np.unique(found).tolist()) <= {0, 1}:
                return found.astype(bool)
    return None


def _embedded(trace: Trace, root: int) -> Stream | None:
    """The tokens as the first embedding of the forward took them that was not given positions."""
    types, ends = trace.column("type"), trace.ends
    for at in range(root, int(ends[root])):
        if "Embedding" in str(types[at]):
            for row in trace.tensors_of(at):
                whole = row.role == schema.INPUT and _WHOLE.fullmatch(row.dtype) and len(row.shape) == 2
                if whole and not _counts(row, ids := _value(trace, row)):
                    return Stream(row.shape[0], row.shape[1], ids)
    return None


def _counts(row: TensorRow, ids: np.ndarray | None) -> bool:
    """Whether whole numbers are positions from 0 on, as far as statistics tell where they were not kept."""
    last = row.shape[1] - 1
    if ids is None:
        return (row.min, row.max, row.mean) == (0, last, last / 2)
    return np.array_equal(ids, np.broadcast_to(np.arange(last + 1), row.shape))


def _by_size(given: list[TensorRow]) -> Stream | None:
    """Of a model that is given vectors: batch × tokens × channels."""
    row = next((row for row in given if len(row.shape) == 3 and "float" in row.dtype), None)
    return None if row is None else Stream(row.shape[0], row.shape[1])


def _continue(found: Sequence[Forward]) -> None:
    """Tell each forward how many tokens stand before its own in its cache: those of the forward before, less those that
    were taken back, as rejected drafts are. A cache that does not grow, by its size or a window's, does not tell."""
    before: Forward | None = None
    for cached, group in groupby(found, lambda forward: forward.held > 0):
        chain = list(group)
        grows = len(chain) > 1 and all(one.held < other.held for one, other in pairwise(chain))
        for last in chain:
            if cached and before is not None and before.main and last.main and before.main.batch == last.main.batch:
                last.past = min(before.keys, last.held) if grows else before.keys
            before = last


def _value(trace: Trace, row: TensorRow) -> np.ndarray | None:
    return None if row.value is None else read_value(trace.path, row.value, row.shape)
