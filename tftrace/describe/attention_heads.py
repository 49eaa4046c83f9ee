"""The attention calls of a run, and which keys each head attends to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..text import visible
from ..trace import schema, tokens
from ..trace.trace import Trace
from .phrases import integer

_FUNCTION = re.compile(r"attention\w*forward|attn\w*forward|scaled_dot_product_attention", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![^.])\d{1,6}(?![^.])")
_SYMBOLS = {"Q", "K", "V"}

_SEEN = 1e-9  # a weight from which on a key counts as seen


@dataclass(frozen=True, slots=True)
class KeyAttention:
    """How much each head of one attention call attends to each key.

    Attributes:
        position: Position of the call.
        label: Its layer, as text.
        means: Mean weights, (batch, heads, keys).
    """

    position: int
    label: str
    means: np.ndarray


def attention_steps(trace: Trace) -> np.ndarray:
    """Sorted positions of the calls that compute attention from query, key and value."""
    return _attention_steps(trace, len(trace))


@lru_cache(maxsize=4)
def _attention_steps(trace: Trace, size: int) -> np.ndarray:
    equations = {name for name, found in trace.meta["equations"].items() if _is_attention(found)}
    given, names = trace.words("equation")
    described = np.isin(given, [code for code, name in enumerate(names) if name in equations])
    codes, types = trace.words("type")
    called = np.isin(codes, [code for code, kind in enumerate(types) if _FUNCTION.search(kind)])
    functions = trace.column("kind") == schema.FUNCTION
    found = np.flatnonzero(described | (called & functions))
    inside = np.zeros(len(found), bool)  # a kernel called by an attention function is the same attention
    inside[1:] = trace.ends[found[:-1]] > found[1:] if len(found) else False
    kept: np.ndarray = found[~inside]
    return kept


def _is_attention(equation: object) -> bool:
    dims = equation.get("dims") if isinstance(equation, dict) else None
    return isinstance(dims, dict) and dims.keys() >= _SYMBOLS


def attention_near(trace: Trace, position: int) -> int | None:
    """The attention nearest to a step: inside the step, else inside the innermost call around it that has one."""
    found = attention_steps(trace)
    at: int | None = position
    while at is not None:
        first = int(np.searchsorted(found, at))
        if first < len(found) and found[first] < trace.ends[at]:
            return int(found[first])
        at = trace.parent(at)
    return None


def sibling_attentions(trace: Trace, position: int) -> list[int]:
    """The attention calls of the same forward pass and kind (self or cross, encoder or decoder), in order of layers."""
    forward, name = integer(trace, "forward", position), _name_without_numbers(trace, position)
    return [
        at
        for at in attention_steps(trace).tolist()
        if integer(trace, "forward", at) == forward and _name_without_numbers(trace, at) == name
    ]


def _name_without_numbers(trace: Trace, position: int) -> str:
    """The module path of a step with `#` for its numbers, which is the same in every layer."""
    return _NUMBER.sub("#", str(trace.column("name")[position] or ""))


def layer_label(trace: Trace, position: int) -> str:
    """`layer 3`, from the number in the module's path; the path itself if it has no number."""
    name = str(trace.column("name")[position] or "")
    number = _NUMBER.search(name)
    return f"layer {number[0]}" if number else visible(name)


def looks_across(trace: Trace, position: int) -> bool:
    """Whether, by its path, an attention is one by which a decoder looks at the source, rather than at itself."""
    return tokens.is_cross(str(trace.column("name")[position] or ""))


def key_attention(trace: Trace, position: int, weights: np.ndarray) -> KeyAttention:
    """Summarise the weights of one attention call, (batch, heads, queries, keys), per key."""
    return KeyAttention(position, layer_label(trace, position), mean_key_weights(weights))


def strongest_cell(weights: np.ndarray) -> tuple[int, int, int]:
    """The head, query and key of the largest weight of (heads, queries, keys).

    Queries that see a single key, as the first token of a decoder does, are passed over if others see more."""
    known = np.nan_to_num(weights)
    open_rows = np.count_nonzero(known > _SEEN, axis=2, keepdims=True) > 1
    chosen = np.where(open_rows, known, -1.0) if open_rows.any() else known
    head, query, key = np.unravel_index(int(chosen.argmax()), chosen.shape)
    return int(head), int(query), int(key)


def mean_key_weights(weights: np.ndarray) -> np.ndarray:
    """The mean weight on each key over the queries that may attend to it.

    Args:
        weights: Attention weights, (batch, heads, queries, keys).

    Returns:
        (batch, heads, keys).
    """
    found: np.ndarray = weights.sum(axis=2) / np.maximum(1, (weights > 0).sum(axis=2))
    return found
