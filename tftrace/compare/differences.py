"""What differs between two steps of one role, each in a line with what either run has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import describe
from ..explain import attention_weights
from ..text import shape, visible
from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from .step_pairs import Pair

# What is known of two steps in which nothing differs; their numbers have not been looked at.
COMPARED = "same class, equation, verdict, sizes and parameters; values not compared"
_OF_THE_TEXT = ("B", *describe.TOKENS)  # axes whose size comes from what the model was given
_SUBLAYERS = {
    "attention": "attention",
    "cross-attention": "cross-attention",
    "feed-forward in": "feed-forward",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One aspect, as each run has it."""

    aspect: str
    left: str
    right: str


def differences(left: Trace, right: Trace, pair: Pair, pairs: list[Pair]) -> list[Difference]:
    """What is not the same in the two steps of `pair`; `pairs` are all of the alignment."""
    if pair.left is None or pair.right is None:
        missing = ("none", "one") if pair.left is None else ("one", "none")
        return [Difference(pair.part, *missing)]
    sides = ((left, pair.left), (right, pair.right))
    aspects = [
        ("class", *(visible(str(trace.column("type")[at] or "")) for trace, at in sides)),
        ("equation", *(_equation(trace, at) for trace, at in sides)),
        ("verdict", *(describe.verdict(trace, at) or "none" for trace, at in sides)),
        ("parameters", *(_parameters(trace, at) for trace, at in sides)),
    ]
    if pair.part in ("attention", "cross-attention"):
        aspects.append(("mask", *(_mask(trace, at) for trace, at in sides)))
    if pair.part == "layer":
        aspects.append(("order", *(_order(pairs, pair, side) for side in (0, 1))))
    if pair.part.startswith("norm of "):
        aspects.append(("stands", *(_stands(pairs, pair, side) for side in (0, 1))))
    if pair.part == "head":
        aspects.append(("weight", *(_tied(trace, at) for trace, at in sides)))
    results = [_result(trace, at) for trace, at in sides]
    if results[0].model != results[1].model:
        aspects.insert(3, ("result", results[0].said, results[1].said))
    return [Difference(name, one, other) for name, one, other in aspects if one != other]


def _equation(trace: Trace, position: int) -> str:
    found = [one for one in describe.equations(trace, position) if not one.within]
    return found[0].drawn(1_000)[0] if found and len(found[0].drawn(1_000)) == 1 else found[0].cite if found else "none"


@dataclass(frozen=True, slots=True)
class _Result:
    """What a step gave: its sizes in words, and those of them that the model and not the text makes."""

    said: str
    model: list[tuple[str, int]]


def _result(trace: Trace, position: int) -> _Result:
    row = next((row for row in trace.tensors_of(position) if row.role == schema.OUTPUT), None)
    if row is None:
        return _Result("none", [])
    sizes = list(zip(describe.axes(trace, position, row), row.shape, strict=True))
    said = " ".join(f"{name}={size}" for name, size in sizes) or shape(row.shape)
    return _Result(said, [one for one in sizes if one[0] not in _OF_THE_TEXT])


def _parameters(trace: Trace, position: int) -> str:
    rows = [row for row in trace.tensors_of(position) if row.role == schema.PARAMETER]
    return ", ".join(f"{visible(row.name)} {shape(row.shape)}" for row in rows) or "none of its own"


def _mask(trace: Trace, position: int) -> str:
    """Told by the weights themselves: what is zero above the diagonal is hidden."""
    found = attention_weights.attention(trace, position)
    if found is None or found.probabilities is None:
        return "not known: the values were not kept"
    weights = found.probabilities
    queries, keys = weights.shape[-2:]
    later = np.triu(np.ones((queries, keys), bool), 1 + keys - queries)
    if queries > 1 and later.any() and not weights[..., later].any():
        return "no later token is seen (causal mask)"
    hidden = float((weights == 0).mean())
    return f"every token sees every other, but {hidden:.0%} hidden" if hidden else "every token sees every other"


def _order(pairs: list[Pair], layer: Pair, side: int) -> str:
    """`attention, norm, feed-forward, norm`: the parts of a layer in the order in which one run takes them."""
    group = layer.label.partition(" · ")[0]
    parts = [(_at(one, side), one.part) for one in pairs if one.label.startswith(f"{group} · ")]
    known = sorted((at, part) for at, part in parts if at is not None)
    named = [_SUBLAYERS.get(part) or ("norm" if part.startswith("norm") else "") for _, part in known]
    return ", ".join(filter(None, named))


def _stands(pairs: list[Pair], norm: Pair, side: int) -> str:
    """Whether a norm stands before or after the sublayer it belongs to."""
    group, sublayer = norm.label.partition(" · ")[0], norm.part.removeprefix("norm of ")
    core = next((part for part, name in _SUBLAYERS.items() if name == sublayer), sublayer)
    other = next((one for one in pairs if one.label == f"{group} · {core}"), None)
    at, there = _at(norm, side), _at(other, side) if other else None
    if at is None or there is None:
        return "not known"
    return "before its sublayer (pre-norm)" if at < there else "after its sublayer and the sum (post-norm)"


def _at(pair: Pair, side: int) -> int | None:
    return (pair.left, pair.right)[side]


def _tied(trace: Trace, position: int) -> str:
    """Whether the head's weight is the very tensor that embeds tokens."""
    weight = next((row for row in trace.tensors_of(position) if row.role == schema.PARAMETER), None)
    if weight is None:
        return "none of its own"
    return "the embedding's own (tied)" if weight.tensor in _embedded(trace) else "its own"


def _embedded(trace: Trace) -> set[int]:
    kinds = trace.column("type")
    found: list[TensorRow] = []
    for at in np.flatnonzero(kinds == "Embedding").tolist():
        found += trace.tensors_of(at)
    return {row.tensor for row in found if row.role == schema.PARAMETER}
