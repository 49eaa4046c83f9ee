"""The attention of a whole generation as one map: a forward with a cache computes only the rows of its new tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..trace.answers import Generation, answers
from ..trace.tokens import is_cross
from ..trace.trace import Trace
from .attention_weights import Attention, attention

_LARGEST = 1 << 26  # weights that are held in memory at once


@dataclass(frozen=True, eq=False)
class Triangle:
    """The attention of one layer in all forwards of a generation.

    Attributes:
        attention: The weights, (texts, H, Tq, Tk), whose rows are those of all forwards; NaN below a text's last row.
        positions: For each text the position of the call that computed each of its rows.
    """

    attention: Attention
    positions: list[list[int]]


def calls_of_generation(trace: Trace, position: int) -> tuple[Generation, list[int]] | None:
    """The forwards that an attention's forward belongs to, and this attention in each of them, -1 where it is absent.

    Returns:
        None if there is one such forward, or the trace does not tell which tokens they took in.
    """
    found = answers(trace).generation(trace.root_of(position))
    if found is None or len(found.roots) < 2:
        return None
    codes = trace.words("name")[0]
    kinds, types, occurrences = trace.words("kind")[0], trace.words("type")[0], trace.column("occurrence")
    same = (codes == codes[position]) & (kinds == kinds[position]) & (types == types[position])
    same = np.flatnonzero(same & (occurrences == occurrences[position]))
    calls = []
    for at in found.roots:
        inside = same[np.searchsorted(same, at) :][:1]
        calls.append(int(inside[0]) if len(inside) and inside[0] < trace.ends[at] else -1)
    return found, calls


def triangle(trace: Trace, position: int) -> Triangle | Attention | None:
    """Lay the rows of all forwards of a generation into one map.

    Args:
        trace: The trace.
        position: The attention in one of them.

    Returns:
        The map; an attention without weights that says why there is none; None if there is one forward only.
    """
    together = calls_of_generation(trace, position)
    if together is None:
        return None
    generation, calls = together
    parts = [attention(trace, at) if at >= 0 else None for at in calls]
    known = [part for part in parts if part is not None and part.probabilities is not None]
    if not known:
        return next((part for part in parts if part is not None), None)
    rows = [_rows(trace, position, generation, path, parts) for path in generation.paths]
    heads = known[0].probabilities.shape[1] if known[0].probabilities is not None else 0
    keys = max((row.width for found in rows for row in found), default=0)
    high = max(len(found) for found in rows)
    if not high:
        return replace(known[0], probabilities=None, reason="The texts of these forwards are not known.")
    if len(rows) * heads * high * keys > _LARGEST:
        return replace(
            known[0], probabilities=None, reason="The map of all forwards is too large: look at one of them."
        )
    weights = np.full((len(rows), heads, high, keys), np.nan)
    scores, mask = weights.copy(), np.zeros_like(weights)
    queries, tokens = [], []
    for text, found in enumerate(rows):
        queries.append([row.token for row in found])
        tokens.append(max((row.labels for row in found), key=len, default=[]))
        for at, row in enumerate(found):
            begin, part = row.begin, row.part
            assert part.probabilities is not None
            size = min(part.probabilities.shape[3], row.width - begin)
            weights[text, :, at, begin : begin + size] = part.probabilities[row.batch, :, row.query, :size]
            weights[text, :, at, begin + size :] = weights[text, :, at, :begin] = 0.0
            if part.scores is not None:
                scores[text, :, at, begin : begin + size] = part.scores[row.batch, :, row.query, :size]
            if part.mask is not None:
                whole = np.broadcast_to(part.mask, part.probabilities.shape)
                mask[text, :, at, begin : begin + size] = whole[row.batch, :, row.query, :size]
    mask[~np.isfinite(scores)] = -np.inf
    scores = np.where(np.isfinite(scores), scores, 0.0)
    made = Attention(weights, scores, mask, known[-1].scale, queries, tokens, any(part.rebuilt for part in known), "")
    return Triangle(made, [[calls[row.forward] for row in found] for found in rows])


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of the map: of which forward, sequence and query it is, and its keys."""

    forward: int
    part: Attention
    batch: int
    query: int
    begin: int  # place of its first key in the map
    width: int  # one past the place of its last key
    token: str
    labels: list[str]  # the tokens of the keys


def _rows(
    trace: Trace, position: int, generation: Generation, path: list[int], parts: list[Attention | None]
) -> list[_Row]:
    """The rows of a text, each of the forward that computed it last."""
    known, found = answers(trace), dict[int, _Row]()
    cross = is_cross(str(trace.column("name")[position] or ""))
    for forward, (root, row, part) in enumerate(zip(generation.roots, path, parts, strict=True)):
        answer = next((one for one in known.at(root) if one.row == row), None)
        if answer is None or part is None or part.probabilities is None or row >= len(part.probabilities):
            continue
        queries, keys = part.probabilities.shape[2:]
        words = known.words(answer.tokens)
        begin, width, labels = 0, keys, part.key_tokens[row] if row < len(part.key_tokens) else []
        if not cross:  # the cache may have forgotten the first tokens, or have room for more
            labels = known.words(known.text(answer))
            begin, width = max(0, len(labels) - keys), len(labels)
        for query in range(queries):
            token = words[query] if len(words) == queries else str(answer.past + query)
            found[answer.past + query] = _Row(forward, part, row, query, begin, width, token, labels)
    return [found[at] for at in sorted(found)]
