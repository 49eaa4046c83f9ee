"""The differences between two steps with the same role, one line per aspect."""

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

# What is known of two steps in which nothing differs; their numbers were not compared.
COMPARED = "same class, equation, verdict, sizes and parameters; values not compared"
_INPUT_AXES = ("B", *describe.TOKENS)  # axes whose size depends on the input, not on the model
_SUBLAYERS = {
    "attention": "attention",
    "cross-attention": "cross-attention",
    "feed-forward in": "feed-forward",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One aspect in which two steps differ, with its value in each run."""

    aspect: str
    left: str
    right: str


def differences(left: Trace, right: Trace, pair: Pair, pairs: list[Pair]) -> list[Difference]:
    """List the differences between the two steps of a pair.

    Args:
        left: The first trace.
        right: The second trace.
        pair: The pair of steps.
        pairs: All pairs of the alignment, as `align` returns them.
    """
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
        aspects.append(("stands", *(_norm_placement(pairs, pair, side) for side in (0, 1))))
    if pair.part == "head":
        aspects.append(("weight", *(_tied(trace, at) for trace, at in sides)))
    results = [_result(trace, at) for trace, at in sides]
    if results[0].model != results[1].model:
        aspects.insert(3, ("result", results[0].text, results[1].text))
    return [Difference(name, one, other) for name, one, other in aspects if one != other]


def _equation(trace: Trace, position: int) -> str:
    found = [one for one in describe.equations(trace, position) if not one.within]
    return found[0].drawn(1_000)[0] if found and len(found[0].drawn(1_000)) == 1 else found[0].cite if found else "none"


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a step: its sizes as text, and the sizes that depend on the model rather than the input."""

    text: str
    model: list[tuple[str, int]]


def _result(trace: Trace, position: int) -> _Result:
    row = next((row for row in trace.tensors_of(position) if row.role == schema.OUTPUT), None)
    if row is None:
        return _Result("none", [])
    sizes = list(zip(describe.axes(trace, position, row), row.shape, strict=True))
    text = " ".join(f"{name}={size}" for name, size in sizes) or shape(row.shape)
    return _Result(text, [one for one in sizes if one[0] not in _INPUT_AXES])


def _parameters(trace: Trace, position: int) -> str:
    rows = [row for row in trace.tensors_of(position) if row.role == schema.PARAMETER]
    return ", ".join(f"{visible(row.name)} {shape(row.shape)}" for row in rows) or "none of its own"


def _mask(trace: Trace, position: int) -> str:
    """The kind of mask, judged by the attention weights: zeros above the diagonal mean a causal mask."""
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
    """The parts of a layer in the order in which one run executes them: `attention, norm, feed-forward, norm`."""
    group = layer.label.partition(" · ")[0]
    parts = [(_position(one, side), one.part) for one in pairs if one.label.startswith(f"{group} · ")]
    known = sorted((at, part) for at, part in parts if at is not None)
    named = [_SUBLAYERS.get(part) or ("norm" if part.startswith("norm") else "") for _, part in known]
    return ", ".join(filter(None, named))


def _norm_placement(pairs: list[Pair], norm: Pair, side: int) -> str:
    """Whether a norm comes before or after its sublayer."""
    group, sublayer = norm.label.partition(" · ")[0], norm.part.removeprefix("norm of ")
    core = next((part for part, name in _SUBLAYERS.items() if name == sublayer), sublayer)
    other = next((one for one in pairs if one.label == f"{group} · {core}"), None)
    at, there = _position(norm, side), _position(other, side) if other else None
    if at is None or there is None:
        return "not known"
    return "before its sublayer (pre-norm)" if at < there else "after its sublayer and the sum (post-norm)"


def _position(pair: Pair, side: int) -> int | None:
    return (pair.left, pair.right)[side]


def _tied(trace: Trace, position: int) -> str:
    """Whether the head shares its weight with the token embedding."""
    weight = next((row for row in trace.tensors_of(position) if row.role == schema.PARAMETER), None)
    if weight is None:
        return "none of its own"
    return "the embedding's own (tied)" if weight.tensor in _embedding_weights(trace) else "its own"


def _embedding_weights(trace: Trace) -> set[int]:
    """The tensor numbers of all embedding weights."""
    kinds = trace.column("type")
    found: list[TensorRow] = []
    for at in np.flatnonzero(kinds == "Embedding").tolist():
        found += trace.tensors_of(at)
    return {row.tensor for row in found if row.role == schema.PARAMETER}
