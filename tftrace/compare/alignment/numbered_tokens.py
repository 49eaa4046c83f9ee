"""Tokens told by what they were embedded as, where their ids were not kept: the same vector is the same token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .forward_tokens import Forward
from .side import TraceSide

_DIGITS = 4  # to which prints of the same vector agree


def number_tokens(sides: Sequence[TraceSide], forwards: Sequence[Sequence[Forward]]) -> None:
    """Give the tokens of both runs numbers in place of their unknown ids, the same for the same vector; none, if what
    they were embedded as is not known either."""
    known: dict[bytes, int] = {}
    found = [[_numbers(side, forward, known) for forward in own] for side, own in zip(sides, forwards, strict=True)]
    if any(one is None for own in found for one in own):
        return
    for own, numbers in zip(forwards, found, strict=True):
        for forward, ids in zip(own, numbers, strict=True):
            if forward.main is not None:
                forward.main.ids = ids


def _numbers(side: TraceSide, forward: Forward, known: dict[bytes, int]) -> np.ndarray | None:
    """A number for each token of a forward pass, by the first embedding of it; new ones are added to `known`."""
    main = forward.main
    types = side.trace.column("type")
    for made in side.tensors:
        fits = main is not None and made.forward == forward.number and made.shape[:2] == (main.batch, main.tokens)
        if not fits or len(made.shape) != 3 or made.step is None or "Embedding" not in str(types[made.step]):
            continue
        prints = side.token_print(made, 1)
        if prints is None:
            return None
        flat = prints.reshape(-1, prints.shape[-1])
        flat = np.round(flat / np.maximum(np.abs(flat).max(1, keepdims=True), 1e-30), _DIGITS) + 0.0
        ids = [known.setdefault(row.astype(np.float32).tobytes(), len(known)) for row in flat]
        return np.array(ids, np.int64).reshape(prints.shape[:2])
    return None
