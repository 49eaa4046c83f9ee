"""The tokens of a run, and which of them stand along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..text import visible
from .trace import Trace

KEYS = ("tokens", "decoder_tokens")  # of meta.json: those of the text, and those that a decoder was given
_CROSS = ("cross", "encoder_attn", "encdec")  # in the path of what lets a decoder look at an encoder


def of(trace: Trace, key: str = "tokens") -> list[list[str]]:
    """The tokens of each text of the batch, safe to show; empty where the trace has none."""
    given = trace.meta.get(key)
    if not isinstance(given, list):
        return []
    return [[readable(one) for one in row] for row in given if isinstance(row, list)]


def readable(given: Any) -> str:
    """A token as people read it: what stands for a space before a word, `Ġ` or `▁`, as `␣`."""
    said = visible(given) if isinstance(given, str) else "?"
    return "␣" + said[1:] if said[:1] in ("Ġ", "▁") else said


def along(trace: Trace, name: str, size: int, batch: int = 0, *, keys: bool = False) -> list[str]:
    """`size` tokens for an axis of the module `name`: the text's or the decoder's, whichever has as many, the likelier
    first. `keys`: the axis is that of an attention's keys. A later forward of a generation sees the last ones."""
    low = name.lower()
    decoder = "decoder" in low and not (keys and any(word in low for word in _CROSS))
    order: Sequence[str] = KEYS[::-1] if decoder else KEYS
    rows = [row[batch] for row in (of(trace, key) for key in order) if batch < len(row)]
    return next((row for row in rows if len(row) == size), [])
