"""Where two runs differ, layer by layer and token by token, and the marks of what was found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..text import number, visible
from ..trace import tokens
from ..trace.trace import Trace
from .comparison import Comparison, TensorPair
from .judged_pair import BORN, HEALED, INHERITED, SAME, UNSURE, WITHIN
from .sentences import place

MARKS = {
    "=": "every number is equal",
    "≈": "rounding explains the difference (or statistics or prints agree, where numbers were not kept)",
    "≠": "a difference is born here",
    "~": "a difference is inherited from an input",
    "?": "may be rounding or not: cannot be told at this precision",
    "°": "healed: a difference that was born, and is gone again before the answer",
}
_MARK_OF = {SAME: "=", WITHIN: "≈", BORN: "≠", INHERITED: "~", UNSURE: "?", HEALED: "°"}
_BEFORE, _AFTER = "before the layers", "after the layers"
SHADES = " ·░▒▓█"  # nothing, rounding, and then by size


def mark(pair: TensorPair) -> str:
    """The mark of a pair; equality is claimed only where numbers were compared."""
    found = _MARK_OF[pair.status]
    return "≈" if found == "=" and (pair.estimated or not pair.measured) else found


@dataclass(frozen=True, slots=True)
class DifferenceMap:
    """The largest difference of each layer at each token.

    Attributes:
        labels: the layers; where no layers are known, the tensors.
        values: layers × pairs of tokens: relative l2, NaN where it is not known.
        pairs: layers × pairs of tokens: index of the pair of tensors that differs so, -1 where there is none.
    """

    labels: list[str]
    values: np.ndarray
    pairs: np.ndarray


def difference_map(found: Comparison) -> DifferenceMap:
    """Where two runs differ, without the differences that heal."""
    keys = _rows(found)
    labels = list(dict.fromkeys(keys))
    count = len(found.left_tokens)
    values = np.full((len(labels), count), np.nan)
    pairs = np.full((len(labels), count), -1)
    for at, (pair, key) in enumerate(zip(found.tensors, keys, strict=True)):
        if pair.status == HEALED or not pair.measured:
            continue
        row = labels.index(key)
        if pair.tokens is not None and pair.by_token is not None:
            _raise(values[row], pairs[row], at, pair.tokens, pair.by_token)
        elif pair.difference == 0:
            _raise(values[row], pairs[row], at, np.arange(count), np.zeros(count))
    return DifferenceMap(labels, values, pairs)


def _raise(values: np.ndarray, pairs: np.ndarray, at: int, where: np.ndarray, sizes: np.ndarray) -> None:
    """Enter a pair wherever it differs more than those before it."""
    more = ~(values[where] >= sizes)  # also where nothing is known
    values[where[more]], pairs[where[more]] = sizes[more], at


def _rows(found: Comparison) -> list[str]:
    """For each pair the label of its row."""
    layered = [at for at, pair in enumerate(found.tensors) if pair.layer is not None]
    if not layered:
        return [f"{at} {place(pair.left)}" for at, pair in enumerate(found.tensors)]
    rows = []
    for at, pair in enumerate(found.tensors):
        outside = _BEFORE if at < layered[-1] else _AFTER
        rows.append(outside if pair.layer is None else f"layer {pair.layer}")
    return rows


def levels(values: np.ndarray, bound: float) -> np.ndarray:
    """The shade of each relative l2, an index into `SHADES`: equal, within the bound, and from there to 1 and more."""
    with np.errstate(all="ignore"):
        share = np.log(values / bound) / np.log(1 / bound) if 0 < bound < 1 else np.ones(values.shape)
        found = 2 + np.clip(np.nan_to_num(share, posinf=1.0) * (len(SHADES) - 2), 0, len(SHADES) - 3).astype(np.int64)
    return np.where(values > bound, found, np.where(values > 0, 1, 0))


def token_labels(trace: Trace | None, places: np.ndarray) -> list[str]:
    """The tokens of one run at its side of the pairs of tokens, else their numbers."""
    texts = [] if trace is None else tokens.of(trace, "decoder_tokens") or tokens.of(trace)
    found = []
    for _, row, at, key in places.tolist():
        known = texts[row] if row < len(texts) else []
        where = key if key < len(known) else at
        found.append(visible(known[where]) if where < len(known) else str(key))
    return found


def explained(found: Comparison, at: int) -> str:
    """What was found of a pair of tensors, as a sentence."""
    pair = found.tensors[at]
    least = "about " if pair.estimated else "" if pair.measured else "at least "
    size = f"{least}{number(pair.difference)} of a token's length"
    explains = f"rounding explains {number(pair.bound)}"
    causes = {(one.left, one.right): one.cause for one in (*found.born, *found.healed)}
    cause = causes.get((pair.left, pair.right)) or pair.note
    why = f" ({cause})" if cause else ""
    said = {
        "=": "every number is equal",
        "≈": f"rounding: {size}, {explains}",
        "≠": f"born here: {size}, {explains}{why}",
        "?": f"cannot be told at this precision: {size}, {explains}{why}",
        "~": f"inherited from an input: {size}",
        "°": f"healed before the answer: {size}{why}",
    }[mark(pair)]
    if mark(pair) == "≈" and pair.difference == 0:
        return f"the {'prints' if pair.estimated else 'statistics'} are equal; numbers were not kept"
    return said
