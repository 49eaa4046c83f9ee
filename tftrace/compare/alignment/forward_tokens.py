"""The tokens of each forward pass of a run, as its outermost call tells, and how many came before in its cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from ...trace.values import read_value

_IDS = re.compile(r"(^|_)(input_ids|ids|tokens|token_ids|idx)$|^(input|inputs|x|src|tokens)$")
_DECODER = re.compile(r"^decoder_(input_)?ids$|^(tgt|y)$")
_NO_IDS = re.compile(r"mask|position|type|label|segment|cache|past|size|shape|grid|length", re.IGNORECASE)
CACHE = re.compile(r"(past|cache|mems)", re.IGNORECASE)
_WHOLE = re.compile(r"u?int\d+|long")
_MOST = 1 << 22  # tokens of a forward pass that are paired; a damaged trace may claim any number


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
            forward.main = _plausible(Stream(row.shape[0], 1, whole=True))


def of_dump(shapes: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> list[Forward]:
    """A dump as a forward pass of some rows of the first of these lengths that its arrays have an axis of."""
    for tokens in lengths:
        batches = [1 if shape[0] == tokens else shape[0] for shape in shapes if len(shape) > 1 and tokens in shape]
        if batches:
            return [Forward(0, Stream(max(set(batches), key=batches.count), tokens))]
    return []


def _forward(trace: Trace, root: int, number: int) -> Forward:
    given = [row for row in trace.tensors_of(root) if row.role == schema.INPUT]
    main, encoder = _streams(trace, given)
    if main is None:
        main = _embedded(trace, root) or _by_size(given)
    held = [row.shape[2] for row in given if CACHE.search(row.name) and row.numel and len(row.shape) == 4]
    return Forward(number, _plausible(main), _plausible(encoder), max(held, default=0))


def _plausible(stream: Stream | None) -> Stream | None:
    """A stream, unless it is said to be larger than any that a run could have taken."""
    fits = stream is not None and min(stream.batch, stream.tokens) >= 0
    return stream if stream is not None and fits and stream.batch * max(stream.tokens, 1) <= _MOST else None


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
