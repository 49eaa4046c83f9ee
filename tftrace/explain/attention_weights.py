"""Attention weights that a fused kernel does not return, rebuilt from kept tensors.

If an equation was checked on the call, its formula is evaluated, in the variant that fits. Otherwise the unknowns (the
scale, and whether later keys are masked) are guessed, the paper's choice first. Weights are shown only if they
reproduce the recorded result when they mix the values.

Source: Vaswani et al., "Attention Is All You Need" (2017), equation (1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from ..errors import TraceError
from ..navigate.value_advice import advice
from ..recipes.evaluate.bindings import bindings_of
from ..recipes.evaluate.from_trace import FittedEquation, KeptTensors, NotKept, fit_recorded
from ..recipes.evaluate.mixture import Mixture, mixture
from ..recipes.evaluate.plan import Statement
from ..recipes.evaluate.value import broadcast_to_dims
from ..recipes.formula.nodes import Node
from ..trace import schema, tokens
from ..trace.rows import TensorRow
from ..trace.scalars import numbers
from ..trace.trace import Trace
from ..trace.values import read_value

_LARGEST = 1 << 26  # weights that are held in memory at once
_NAMES = {"Q": "query", "K": "key", "V": "value", "M": "attention_mask", "p": "position_bias"}
_TOLERANCE = 2e-2  # relative to the largest result: admits low precision, but no other mask or scale


@dataclass(frozen=True, eq=False)
class Attention:
    """The intermediate results of one attention call: `probabilities = softmax(scale · scores + mask)`.

    Attributes:
        probabilities: The attention weights, (B, H, Tq, Tk): batch, heads, queries, keys; None if unknown.
        scores: The products Q K^T, (B, H, Tq, Tk).
        mask: What is added to the scaled scores, broadcastable to them; minus infinity hides a key.
        scale: The factor of the scores.
        query_tokens: The tokens along the queries, one list per sequence of the batch.
        key_tokens: The tokens along the keys, one list per sequence of the batch.
        rebuilt: Whether the weights were rebuilt, rather than kept by the run itself.
        reason: A sentence that says why `probabilities` is None, else empty.
    """

    probabilities: np.ndarray | None
    scores: np.ndarray | None
    mask: np.ndarray | None
    scale: float
    query_tokens: list[list[str]]
    key_tokens: list[list[str]]
    rebuilt: bool
    reason: str


def attention(trace: Trace, position: int) -> Attention | None:
    """Get or rebuild the attention weights of the call at `position`.

    Returns:
        The weights, or a reason why they are not known; None if the call is no attention function.
    """
    if (by_equation := _by_equation(trace, position)) is not None:
        return by_equation
    rows = _rows(trace, position)
    if not {"Q", "K", "V"} <= rows.keys():
        return None
    known = {symbol: values for symbol, row in rows.items() if (values := _kept(trace, row)) is not None}
    if missing := [rows[symbol] for symbol in ("Q", "K") if symbol not in known]:
        return _unknown(f"{' and '.join(row.name for row in missing)} not kept: {advice(trace, missing[0])}.")
    query, key = (known[symbol].astype(np.float64) for symbol in ("Q", "K"))
    if query.ndim != 4 or key.ndim != 4 or query.shape[-1] != key.shape[-1] or query.shape[1] % max(1, key.shape[1]):
        return _unknown("The shapes of query and key are not those of attention in heads.")
    if query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2] > _LARGEST:
        return _unknown("The weights are too many to rebuild at once: record fewer tokens.")
    groups = query.shape[1] // max(1, key.shape[1])
    scores = query @ np.repeat(key, groups, axis=1).swapaxes(-1, -2)
    named = _tokens(trace, position, scores.shape)
    weights = known.get("P")
    if weights is not None and weights.shape == scores.shape:
        return Attention(weights, scores, _mask(known), _scale(trace, position, query.shape[-1]), *named, False, "")
    value, result = known.get("V"), known.get("out")
    if value is None or result is None:
        gone = next((rows[symbol] for symbol in ("V", "out") if symbol in rows and symbol not in known), None)
        way = f": {advice(trace, gone)}" if gone is not None else ""
        return _unknown(f"value or result not kept, so that rebuilt weights could not be checked{way}.")
    value = np.repeat(value.astype(np.float64), groups, axis=1)
    result = _heads_first(result.astype(np.float64), scores.shape, value.shape[-1])
    if result is None:
        return _unknown("The shape of the result is not that of attention in heads.")
    limit = _TOLERANCE * (float(np.abs(result[np.isfinite(result)]).max(initial=0.0)) or 1.0)
    for scale, mask in _candidates(known, scores, trace.meta.get("config")):
        with np.errstate(all="ignore"):
            found = _softmax(scores * scale + mask)
            away = np.abs(found @ value - result)
        if np.all((away <= limit) | ~np.isfinite(result)):
            return Attention(found, scores, mask, scale, *named, True, "")
    return _unknown(_why_unknown(trace, position))


def _mask(known: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What is added to the scores: a mask that was passed, or what was seen to be added and to be hidden."""
    if "M" in known or not known.keys() & {"A", "h"}:
        return known.get("M")
    added = known.get("A", np.zeros((1, 1, 1, 1)))
    added = np.where(added, 0.0, -np.inf) if added.dtype == bool else added.astype(np.float64)
    return np.where(known["h"], -np.inf, added) if "h" in known else added


def _scale(trace: Trace, position: int, width: int) -> float:
    """The factor of the scores, as it was seen; else 1/√d_k."""
    equation = trace.column("equation")[position]
    seen = numbers(trace, position, equation).get("c") if equation else None
    return seen if isinstance(seen, float) else 1 / sqrt(width)


def _why_unknown(trace: Trace, position: int) -> str:
    """Why nothing that was tried gives the recorded result."""
    if any("dropout" in (check.reason or "") for check in trace.checks_of(position)):
        return "Dropout was active, so the weights cannot be rebuilt: record in evaluation mode, after model.eval()."
    return (
        "No scale and mask that are tried give the recorded result, as none would if dropout was active (training "
        "mode): the weights cannot be rebuilt."
    )


def _by_equation(trace: Trace, position: int) -> Attention | None:
    """The weights by the equation of the call, if it, or a variant of it, was found to hold."""
    for check in trace.checks_of(position):
        if check.verdict != schema.HOLDS and check.variant is None:
            continue
        with suppress(TraceError):  # the attempt without an equation reports what is missing
            fit = fit_recorded(trace, position, check.equation)
            for statement in fit.plan.statements:
                mixed = mixture(statement.body)
                if mixed is not None:
                    return _evaluated(trace, position, fit, statement, mixed)
    return None


def _evaluated(trace: Trace, position: int, fit: FittedEquation, of: Statement, mixed: Mixture) -> Attention | None:
    """The weights by a fitted equation; None if they are too many or do not reproduce the kept result."""
    kept = KeptTensors(trace, fit)
    evaluator = kept.evaluator()
    weights = evaluator.evaluate(mixed.weights)
    if len(weights.dims) < 4 or prod(map(fit.plan.sizes.__getitem__, weights.dims)) > _LARGEST:
        return None
    sizes = tuple(fit.plan.sizes[d] for d in weights.dims)
    shape = (sizes[0], prod(sizes[1:-2]), *sizes[-2:])  # with grouped queries, two dimensions make up the heads

    def whole(node: Node) -> np.ndarray:
        return broadcast_to_dims(evaluator.evaluate(node), weights.dims, sizes).v.reshape(shape)

    with suppress(NotKept):
        result = broadcast_to_dims(
            evaluator.evaluate(of.body), fit.plan.layouts[of.symbol].names, kept.cells(of.symbol).shape
        )
        given = kept.cells(of.symbol).astype(np.float64)
        limit = _TOLERANCE * (float(np.abs(given[np.isfinite(given)]).max(initial=0.0)) or 1.0)
        if np.any((np.abs(result.v - given) > limit) & np.isfinite(given)):
            return None
    product, scores = whole(mixed.product), whole(mixed.scores)
    at = np.unravel_index(np.abs(product).argmax(), product.shape)
    scale = float(scores[at] / product[at]) if product[at] else 1.0
    mask = sum((whole(part) for part in mixed.added), np.zeros(shape))
    return Attention(
        whole(mixed.weights), product, mask, scale, *_tokens(trace, position, shape), "P" not in fit.arrays, ""
    )


def _tokens(trace: Trace, position: int, shape: tuple[int, ...]) -> tuple[list[list[str]], list[list[str]]]:
    """The tokens along queries and keys of weights with this shape (B, H, Tq, Tk)."""
    batch = range(shape[0])
    return (
        [tokens.along(trace, position, shape[2], at) for at in batch],
        [tokens.along(trace, position, shape[3], at, keys=True) for at in batch],
    )


def _unknown(reason: str) -> Attention:
    """An `Attention` without weights."""
    return Attention(None, None, None, 1.0, [], [], True, reason)


def _rows(trace: Trace, position: int) -> dict[str, TensorRow]:
    """The tensors of a call by symbol, as its equation binds them, else by the usual names of arguments."""
    if trace.column("kind")[position] not in schema.CALLS:
        return {}
    found: dict[str, TensorRow] = {}
    for name in dict.fromkeys([trace.column("equation")[position], *(c.equation for c in trace.checks_of(position))]):
        if name and {"Q", "K", "V"} <= (tensors := bindings_of(trace, position, name).tensors).keys():
            found = {**tensors}
            break
    rows = trace.tensors_of(position)
    inputs = {row.name: row for row in rows if row.role == schema.INPUT}
    for symbol, name in _NAMES.items():
        if name in inputs:
            found.setdefault(symbol, inputs[name])
    outputs = {row.name: row for row in rows if row.role == schema.OUTPUT}
    for symbol, names in (("out", ("[0]", "")), ("P", ("[1]",))):
        row = next((outputs[name] for name in names if name in outputs), None)
        if row is not None:
            found.setdefault(symbol, row)
    return found


def _kept(trace: Trace, row: TensorRow) -> np.ndarray | None:
    try:
        return read_value(trace.path, row.value, row.shape) if row.value else None
    except TraceError:
        return None


def _heads_first(result: np.ndarray, scores: tuple[int, ...], width: int) -> np.ndarray | None:
    """The result as (B, H, Tq, D), from (B, H, Tq, D), (B, Tq, H, D) or (B, Tq, H·D); None for another shape."""
    batch, heads, queries, _ = scores
    if result.shape in ((batch, queries, heads, width), (batch, queries, heads * width)):
        swapped: np.ndarray = result.reshape(batch, queries, heads, width).swapaxes(1, 2)
        return swapped
    return result if result.shape == (batch, heads, queries, width) else None


def _candidates(
    known: Mapping[str, np.ndarray], scores: np.ndarray, config: object
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the scales and masks to try.

    Scales are the paper's 1/√d, those that some models configure, and 1; each with the given mask alone, and with
    later keys masked as well.
    """
    settings = config if isinstance(config, dict) else {}
    width = known["Q"].shape[-1]
    own = settings.get("attention_multiplier")
    wide = settings.get("query_pre_attn_scalar")
    scales = [1 / sqrt(width), own, wide and abs(wide) ** -0.5, 1.0]
    queries, keys = scores.shape[-2:]
    later = np.where(np.tril(np.ones((queries, keys), bool), keys - queries), 0.0, -np.inf)
    given = np.zeros((1, 1, 1, keys))
    if (mask := known.get("M")) is not None:
        if mask.ndim == 2:
            mask = mask[:, None, None, :].astype(bool)
        if mask.ndim == 4 and mask.shape[-1] >= keys:
            mask = mask[..., :keys]
            given = np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask.astype(np.float64)
    if (bias := known.get("p")) is not None and bias.shape[-1] == keys:
        given = given + bias.astype(np.float64)
    for scale in scales:
        if isinstance(scale, (int, float)) and scale > 0:
            yield from ((float(scale), given), (float(scale), given + later))


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis. A fully masked row becomes uniform, as in torch's kernels."""
    top = scores.max(axis=-1, keepdims=True)
    grown = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = grown.sum(axis=-1, keepdims=True)
    spread: np.ndarray = np.where(total > 0, grown / np.where(total > 0, total, 1.0), 1.0 / scores.shape[-1])
    return spread
