"""Whether a difference that came into a step is still there, though rounding would explain as much.

What heals is gone: the products of queries and keys that were turned alike are the same again. What is merely thinned,
by a residual that is added or by an attention that is nearly flat, is not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from .alignment.layouts import Vectors
from .alignment.meeting import Meeting
from .judged_pair import DIFFERING, Judged

ATTENDS = re.compile(r"softmax|attention_forward|scaled_dot_product|sdpa|flash", re.IGNORECASE)
_KEPT = 0.25  # share of a difference that is passed on, of which it has not healed
_TOLD = 0.5  # units below which the difference of a token is rounding, whatever came in
_HIDDEN = 8.0  # units of a result's length below which what came in may be hidden by its roundings
_HEALED = 24.0  # units up to which scores have healed, relative to their size
_MOST = 1 << 24  # scores that are computed


def passed_on(pair: Judged, inputs: Sequence[Judged]) -> bool:
    """Whether a step's difference is as large as what came in: relatively, in some token, or as a whole."""
    most, whole = pair.distance.most, pair.distance.length
    wholes = [one.distance.length for one in inputs if one.distance.length == one.distance.length]
    if whole == whole and wholes and whole >= _KEPT * max(wholes):
        return True
    if most < _TOLD * pair.unit:
        return False
    return most >= _KEPT * max(one.distance.most for one in inputs) or any(_in_a_token(pair, one) for one in inputs)


def swallowed(pair: Judged, inputs: Sequence[Judged]) -> bool:
    """Whether what came in is so small beside the result that its roundings hide it."""
    lengths = [one.distance.length for one in inputs]
    size = pair.left.first.statistics[4]
    return all(length == length for length in lengths) and max(lengths) <= _HIDDEN * pair.unit * size


def _in_a_token(pair: Judged, source: Judged) -> bool:
    """Whether some token differs by as much as it did in what came in, and really did there."""
    ours, theirs = pair.distance, source.distance
    if ours.tokens is None or theirs.tokens is None or ours.by_token is None or theirs.by_token is None:
        return False
    _, here, there = np.intersect1d(ours.tokens, theirs.tokens, assume_unique=True, return_indices=True)
    now, before = ours.by_token[here], theirs.by_token[there]
    real = before > 2 * source.noise + 4 * source.unit
    return bool((real & (now >= _TOLD * pair.unit) & (now >= _KEPT * before)).any())


def attends_otherwise(meeting: Meeting, pair: Judged, inputs: Sequence[Judged]) -> bool:
    """Whether an attention was given other scores, or other values: its weights then only hide the difference.

    Of queries and keys the scores are computed again; those of a softmax are there. A constant that is added to all
    scores of a query changes nothing."""
    if len(inputs) == 1:
        scores = _vectors(meeting, inputs[0])
        return scores is None or _apart(scores[0].numbers, scores[1].numbers) > _HEALED * pair.unit
    size = pair.left.first.shape[-1]
    heads = [one for one in inputs if len(one.left.first.shape) == 4 and one.left.first.shape[-1] == size]
    heads.sort(key=lambda one: one.status not in DIFFERING)  # queries and keys, if the values are the same
    if len(heads) < 2 or any(one.status in DIFFERING for one in heads[2:]):
        return True
    found = [_vectors(meeting, one, keys=False) for one in inputs if one in heads[:2]]  # queries first
    sides = []
    for side in (0, 1):
        query, key = (None if one is None else one[side] for one in found)
        if query is None or key is None or not np.array_equal(query.at, key.at):
            return True
        widths = query.numbers.shape[1], key.numbers.shape[1]
        if any(width % size for width in widths) or len(query.at) ** 2 * widths[0] > _MOST * size:
            return True
        sides.append(_scores(query.numbers[:, :, 0], key.numbers[:, :, 0], size))
    return _apart(sides[0], sides[1]) > _HEALED * pair.unit


def _vectors(meeting: Meeting, pair: Judged, keys: bool = True) -> tuple[Vectors, Vectors] | None:
    found = meeting.vectors(pair.left.made, False, keys), meeting.vectors(pair.right.made, True, keys)
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _scores(query: np.ndarray, key: np.ndarray, size: int) -> np.ndarray:
    """Products of each head's queries and keys: tokens × heads × tokens."""
    q, k = (one.astype(np.float64).reshape(len(one), -1, size) for one in (query, key))
    if q.shape[1] % k.shape[1] and k.shape[1] % q.shape[1]:
        return np.zeros((0, 0, 0))
    heads = max(q.shape[1], k.shape[1])
    q, k = (np.repeat(one, heads // one.shape[1], 1) for one in (q, k))
    found: np.ndarray = np.einsum("ihd,jhd->ihj", q, k)
    return found


def _apart(left: np.ndarray, right: np.ndarray) -> float:
    """How far apart scores are, each query's less their mean, relative to their size."""
    if left.shape != right.shape or not left.size:
        return np.inf
    there = np.isfinite(left) & np.isfinite(right)
    count = np.maximum(there.sum(-1, keepdims=True), 1)
    centred = []
    for one in (left, right):
        kept = np.where(there, one, 0.0).astype(np.float64)
        centred.append(np.where(there, kept - kept.sum(-1, keepdims=True) / count, 0.0))
    size = max(float(np.linalg.norm(one)) for one in (np.where(there, left, 0.0), np.where(there, right, 0.0)))
    return float(np.linalg.norm(centred[0] - centred[1])) / max(size, 1e-300)
