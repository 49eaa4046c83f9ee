"""The tokens of a run, and which of them label an axis of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..text import visible
from .trace import Trace

KEYS = ("tokens", "decoder_tokens")  # in meta.json: the tokens of the text, and those given to a decoder
_CROSS = ("cross", "encoder_attn", "encdec")  # in the path of modules through which a decoder looks at an encoder


def of(trace: Trace, key: str = "tokens") -> list[list[str]]:
    """The tokens of each text of the batch, made safe to show; empty if the trace has none."""
    given = trace.meta.get(key)
    if not isinstance(given, list):
        return []
    return [[readable(one) for one in row] for row in given if isinstance(row, list)]


def readable(given: Any) -> str:
    """A token as it is shown: the mark for a space before a word, `Ġ` or `▁`, becomes `␣`."""
    said = visible(given) if isinstance(given, str) else "?"
    return "␣" + said[1:] if said[:1] in ("Ġ", "▁") else said


def along(trace: Trace, name: str, size: int, batch: int = 0, *, keys: bool = False) -> list[str]:
    """Find the tokens that label an axis of what a module returns.

    Both the text's tokens and the decoder's are tried, the likelier ones first.

    Args:
        trace: The trace.
        name: The path of the module.
        size: The length of the axis.
        batch: The text of the batch, from 0.
        keys: Whether the axis is that of an attention's keys.

    Returns:
        `size` tokens, or none if there are no such tokens.
    """
    low = name.lower()
    decoder = "decoder" in low and not (keys and any(word in low for word in _CROSS))
    order: Sequence[str] = KEYS[::-1] if decoder else KEYS
    rows = [row[batch] for row in (of(trace, key) for key in order) if batch < len(row)]
    return next((row for row in rows if len(row) == size), [])
