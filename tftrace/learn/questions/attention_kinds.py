"""Questions about attention: which head, which token, what is masked. Answered from the weights, kept or rebuilt."""

from __future__ import annotations

import numpy as np

from ... import describe
from ...errors import TraceError
from ...explain import attention_weights
from ...text import readable
from .asked import Asked
from .right_answer import Answer, about, plain, whole, word

_HIDDEN = -1e4  # added to a score, this hides it


def heads(asked: Asked) -> Answer:
    """How many heads there are."""
    _, weights = _weights(asked)
    return whole(weights.shape[0])


def head_on(asked: Asked) -> Answer:
    """Which head gives a token the most weight, on the mean of all queries that may see it."""
    found, weights = _weights(asked)
    key = _token(found.key_tokens[0], asked.given["token"])
    means = describe.mean_key_weights(weights[None])[0][:, key]
    said = ", ".join(f"{head}: {mean:.2f}" for head, mean in enumerate(means))
    return whole(int(means.argmax()), said)


def strongest_key(asked: Asked) -> Answer:
    """Which token a query looks at most, in one head or on the mean of all."""
    found, weights = _weights(asked)
    query = _token(found.query_tokens[0], asked.given["token"])
    head = asked.given.get("head")
    if head is not None and head >= weights.shape[0]:
        raise TraceError(f"this attention has no head {head}.")
    row = weights.mean(axis=0)[query] if head is None else weights[head, query]
    key = int(row.argmax())
    names = found.key_tokens[0]
    if not names:
        raise TraceError("the tokens of this run are not known.")
    return word(names[key], because=f"{row[key]:.2f}")


def masked(asked: Asked) -> Answer:
    """How many scores of a query's row are masked."""
    found, weights = _weights(asked)
    row = int(asked.given["row"])
    if row >= weights.shape[1]:
        raise TraceError(f"this attention has no row {row}: it has {weights.shape[1]}.")
    hidden = weights[0, row] == 0
    if found.mask is not None:
        mask = found.mask if found.mask.dtype != bool else np.where(found.mask, 0.0, -np.inf)
        hidden = np.broadcast_to(mask, (1, *weights.shape))[0, 0, row] <= _HIDDEN if mask.ndim <= 4 else hidden
    return whole(
        int(hidden.sum()), f"{weights.shape[2] - int(hidden.sum())} + {int(hidden.sum())} = {weights.shape[2]}"
    )


def divisor(asked: Asked) -> Answer:
    """By what number the scores are divided."""
    found, _ = _weights(asked)
    return about(1 / found.scale, 0.005, f"1/{1 / found.scale:.4g} = {found.scale:.4g}")


def head_size(asked: Asked) -> Answer:
    """How many channels a head has."""
    rows = [row for row in asked.trace.tensors_of(_attention(asked)) if row.role == "input" and len(row.shape) == 4]
    if not rows:
        raise TraceError("the heads of this attention were not recorded.")
    return whole(rows[0].shape[-1])


def row_sum(asked: Asked) -> Answer:
    """What the weights of a row add up to."""
    _, weights = _weights(asked)
    return about(float(weights[0, 0].sum()), 0.001)


def _attention(asked: Asked) -> int:
    at = describe.attention_near(asked.trace, asked.at)
    if at is None:
        raise TraceError("no attention was recorded here.")
    return at


def _weights(asked: Asked) -> tuple[attention_weights.Attention, np.ndarray]:
    """The attention near the step, and the weights of its first text, (heads, queries, keys)."""
    found = attention_weights.attention(asked.trace, _attention(asked))
    if found is None or found.probabilities is None:
        raise TraceError(found.reason.rstrip(".") + "." if found else "no attention was recorded here.")
    return found, found.probabilities[0]


def _token(names: list[str], wanted: str) -> int:
    """The first place of a token."""
    said = [plain(readable(name)) for name in names]
    if plain(wanted) not in said:
        raise TraceError(f"there is no token {wanted!r} in this run's text.")
    return said.index(plain(wanted))
