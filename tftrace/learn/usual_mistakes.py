"""Attention computed in float64 as the paper has it, and with each usual mistake, so that a mistake can be named.

Source: Vaswani et al., "Attention Is All You Need" (2017), equation (1) and section 3.2.2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

Array = np.ndarray
_CLOSE = 1e-4  # relative to the largest number: float32 is a thousand times nearer, the mistakes are farther off


@dataclass(frozen=True)
class Inputs:
    """What attention is given: query, key and value as (batch, heads, tokens, d_k), or, where heads have yet to be
    split, as (batch, tokens, width) with their number; the mask as (tokens, tokens), True where a query may look."""

    query: Array
    key: Array
    value: Array
    mask: Array
    heads: int = 0


Part = dict[str, Callable[..., Array]]

_PRODUCTS: Part = {
    "": lambda q, k: q @ k.swapaxes(-1, -2),
    "key not transposed": lambda q, k: q @ k,
    "query and key swapped": lambda q, k: k @ q.swapaxes(-1, -2),
}
_SCALES: Part = {
    "": lambda s, d: s / np.sqrt(d),
    "no scale": lambda s, d: s,
    "divided by d_k": lambda s, d: s / d,
    "multiplied by the root": lambda s, d: s * np.sqrt(d),
    "root of the width": lambda s, d, width=0: s / np.sqrt(width),
}
_MASKS: Part = {
    "": lambda s, m: np.where(m, s, -np.inf),
    "mask lost": lambda s, m: s,
    "mask inverted": lambda s, m: np.where(m, -np.inf, s),
    "masked with 0": lambda s, m: np.where(m, s, 0.0),
    "mask added": lambda s, m: s + m,
}
_SOFTMAXES: Part = {
    "": lambda s: _softmax(s, -1),
    "softmax over the queries": lambda s: _softmax(s, -2),
    "softmax over the heads": lambda s: _softmax(s, 1),
    "no softmax": lambda s: np.where(np.isfinite(s), s, 0.0),
}
_MIXES: Part = {
    "": lambda p, v, m: p @ v,
    "values forgotten": lambda p, v, m: p,
    "masked after the softmax": lambda p, v, m: np.where(m, p, 0.0) @ v,
}
_SPLITS: Part = {
    "": lambda x, h: x.reshape(*x.shape[:2], h, -1).swapaxes(1, 2),
    "heads split in the wrong order": lambda x, h: x.reshape(x.shape[0], h, x.shape[1], -1),
    "channels of heads interleaved": lambda x, h: x.reshape(*x.shape[:2], -1, h).transpose(0, 3, 1, 2),
}
_JOINS: Part = {
    "": lambda z: z.swapaxes(1, 2).reshape(z.shape[0], z.shape[2], -1),
    "heads joined in the wrong order": lambda z: z.reshape(z.shape[0], z.shape[2], -1),
    "heads joined channel by channel": lambda z: z.transpose(0, 2, 3, 1).reshape(z.shape[0], z.shape[2], -1),
}


def named(given: Inputs, result: Array) -> tuple[str, ...] | None:
    """The mistakes with which the paper's attention gives this result.

    Args:
        given: what attention was given.
        result: what it returned; of heads that are split, what was joined.

    Returns:
        The mistakes: none if the result is right; None if none of these makes it.
    """
    with np.errstate(all="ignore"):
        candidates = sorted(_candidates(given), key=lambda one: len(one[0]))
        return next((mistakes for mistakes, make in candidates if _same(make, result)), None)


def _candidates(given: Inputs) -> Iterator[tuple[tuple[str, ...], Callable[[], Array]]]:
    splits, joins = (_SPLITS, _JOINS) if given.heads else ({"": _as_it_is}, {"": _as_it_is})
    parts = (splits, _PRODUCTS, _SCALES, _MASKS, _SOFTMAXES, _MIXES, joins)
    for names in product(*parts):
        wrong = tuple(filter(None, names))
        if len(wrong) > 2 or ("masked after the softmax" in wrong and "mask lost" not in wrong):
            continue
        made = [part[name] for part, name in zip(parts, names, strict=True)]
        wrong = tuple(one for one in wrong if not (one == "mask lost" and "masked after the softmax" in wrong))
        yield wrong, lambda made=made, names=names: _compute(given, made, names)  # type: ignore[misc]


def _compute(given: Inputs, made: list[Callable[..., Array]], names: tuple[str, ...]) -> Array:
    split, multiply, scale, mask, softmax, mix, join = made
    q, k, v = ((split(x, given.heads) if given.heads else x) for x in (given.query, given.key, given.value))
    wide = {"width": q.shape[1] * q.shape[-1]} if names[2] == "root of the width" else {}
    weights = softmax(mask(scale(multiply(q, k), q.shape[-1], **wide), given.mask))
    mixed = mix(weights, v, given.mask)
    return join(mixed) if given.heads else mixed


def _as_it_is(x: Array, *_: object) -> Array:
    return x


def _softmax(scores: Array, axis: int) -> Array:
    top = scores.max(axis=axis, keepdims=True)
    grown = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    spread: Array = grown / grown.sum(axis=axis, keepdims=True)
    return spread


def _same(make: Callable[[], Array], result: Array) -> bool:
    try:
        found = make()
    except ValueError:  # shapes that do not go together: not this mistake
        return False
    if found.shape != result.shape or (np.isnan(found) != np.isnan(result)).any():
        return False
    away = np.abs(np.nan_to_num(found) - np.nan_to_num(result)).max(initial=0.0)
    return bool(away <= _CLOSE * max(1e-6, float(np.abs(np.nan_to_num(found)).max(initial=0.0))))


USUAL = tuple(
    name for part in (_PRODUCTS, _SCALES, _MASKS, _SOFTMAXES, _MIXES, _SPLITS, _JOINS) for name in part if name
)
"""The names of the usual mistakes."""
