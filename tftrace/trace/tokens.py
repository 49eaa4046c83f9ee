"""The tokens of a run, and which of them label an axis of a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..text import readable
from .answers import RETURNED, Answer, answers
from .trace import Trace

KEYS = ("tokens", "decoder_tokens")  # in meta.json: the tokens of the text, and those given to a decoder
EMPTY = "·"  # a key of a cache that has room for more tokens than there are
_CROSS = (
    "cross",
    "encoder_attn",
    "encdec",
    "src_attn",
)  # in the path of modules by which a decoder looks at an encoder


def of(trace: Trace, key: str = "tokens") -> list[list[str]]:
    """The tokens of each text of the batch, made safe to show; empty if the trace has none."""
    given = trace.meta.get(key)
    if not isinstance(given, list):
        return []
    return [[readable(one) for one in row] for row in given if isinstance(row, list)]


def is_cross(name: str) -> bool:
    """Whether, by its path, a module is an attention by which a decoder looks at an encoder."""
    low = name.lower()
    return any(word in low for word in _CROSS) or ("decoder" in low and "multihead_attn" in low)


def along(trace: Trace, position: int, size: int, batch: int = 0, *, keys: bool = False) -> list[str]:
    """Find the tokens that label an axis of what a step returns.

    They are those that its forward took in. Along the keys of an attention with a cache they are the whole text so far.

    Args:
        trace: The trace.
        position: The position of the step.
        size: The length of the axis.
        batch: The text of the batch, from 0.
        keys: Whether the axis is that of an attention's keys.

    Returns:
        `size` tokens, or none if there are no such tokens.
    """
    name = str(trace.column("name")[position] or "")
    found = _taken_in(trace, position, name, size, batch, keys)
    return next(found, None) or _given(trace, name, size, batch, keys)


def _given(trace: Trace, name: str, size: int, batch: int, keys: bool) -> list[str]:
    """The tokens of the command's text, or the decoder's, the likelier ones first, as meta.json has them."""
    decoder = "decoder" in name.lower() and not (keys and is_cross(name))
    order: Sequence[str] = KEYS[::-1] if decoder else KEYS
    rows = [row[batch] for row in (of(trace, key) for key in order) if batch < len(row)]
    return next((row for row in rows if len(row) == size), [])


def _taken_in(trace: Trace, position: int, name: str, size: int, batch: int, keys: bool) -> Iterator[list[str]]:
    """The tokens that fit, of what the forward of a step took in, the likeliest ones first."""
    known = answers(trace)
    if not known:
        return
    root = trace.root_of(position)
    own = known.at(root)
    streams = [own, *(rows for rows in known.streams(root).values() if rows is not own)]
    if "encoder" in name.lower() and "decoder" not in name.lower():
        streams.reverse()
    cross = keys and is_cross(name)
    if cross:
        streams = [*streams[1:], *_sources(trace, root)]
    for rows in streams:
        row = _of_batch(rows, batch, len(own)) if rows is not own else next((r for r in rows if r.row == batch), None)
        if row is None:
            continue
        given, whole = known.words(row.tokens), known.words(known.text(row))
        if len(given) == size and not (keys and row.past):
            yield given
        elif len(whole) == size:
            yield whole
        elif keys and not cross and size < len(whole):  # a window of the cache
            yield whole[-size:]
        elif keys and not cross and row.past:  # a cache with room for more
            yield whole + [EMPTY] * (size - len(whole))


def _of_batch(rows: list[Answer], batch: int, count: int) -> Answer | None:
    """The row of a source that belongs to row `batch` of `count`: each text of a source may have several beams."""
    at = batch * len(rows) // max(1, count, len(rows))
    return rows[at] if 0 <= at < len(rows) else None


def _sources(trace: Trace, root: int) -> Iterator[list[Answer]]:
    """What forwards before one took in that gave no answer, such as those of an encoder, the latest first."""
    known = answers(trace)
    for before in known.roots_before(root):
        rows = known.at(before)
        if rows and not len(rows[0].likeliest) and rows[0].of != RETURNED:
            yield rows
