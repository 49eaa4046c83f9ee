"""A generation as plain data: its grid of layers and forwards, and what each forward took in and gave out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import describe
from ...navigate import generation_grid, timeline
from ...text import visible
from ...trace.trace import Trace

_MOST_FORWARDS, _MOST_TEXTS, _SHOWN = 256, 8, 5
Word = Callable[[str], int]


def forwards_answers(trace: Trace, steps: int, word: Word) -> dict[int, list[Any]]:
    """What each forward took in and gave out, by the position of its outermost call, one for each text."""
    found = {}
    for root in np.flatnonzero(trace.parents[:steps] < 0).tolist()[:_MOST_FORWARDS]:
        rows = describe.forward_answers(trace, root)
        if any(one.likeliest for one in rows):
            found[root] = [_answer(one, word) for one in rows[:_MOST_TEXTS]]
    return found


def generation(trace: Trace, steps: int, word: Word) -> dict[str, Any] | None:
    """The grid of a run of several forwards, up to step `steps`; None for a single forward."""
    grid = generation_grid.grid(trace)
    count = min(_MOST_FORWARDS, sum(root < steps for root in grid.roots))
    if count < 2 or not grid.rows:
        return None
    roots, cells = grid.roots[:count], grid.cells[:, :count]
    texts = min(_MOST_TEXTS, max(describe.text_count(trace, root) for root in roots))
    time, norm = (grid.measured(trace, measure)[:, :count] for measure in timeline.MEASURES[:2])
    return {
        "rows": [word(visible(label)) for label in grid.labels],
        "forwards": [number + 1 for number in grid.forwards[:count]],
        "roots": roots,
        "cells": np.where(cells < steps, cells, -1).tolist(),
        "found": grid.found[:, :count].tolist(),
        "time": _numbers(time / 1e3),
        "norm": _numbers(norm),
        "texts": [
            [_maybe(describe.answer_of_text(trace, root, text), word) for root in roots] for text in range(texts)
        ],
        "titles": [word(describe.text_title(trace, roots[-1], text)) for text in range(texts)],
    }


def _maybe(answer: describe.ForwardAnswer | None, word: Word) -> list[Any] | None:
    return None if answer is None else _answer(answer, word)


def _answer(answer: describe.ForwardAnswer, word: Word) -> list[Any]:
    """How many tokens it took in, the last of them, what it gave out, its entropy, and the likeliest next tokens."""
    likeliest = [
        [word(one.token), _short(one.probability), 1 if one.chosen else 2 if one.beam else 0]
        for one in answer.shown(_SHOWN)
    ]
    gave = [word(token) for token in answer.gave]
    return [len(answer.took), word(answer.newest), gave, _short(answer.entropy), likeliest]


def _numbers(values: np.ndarray) -> list[list[float | None]]:
    return [[_short(value) for value in row] for row in values.tolist()]


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
