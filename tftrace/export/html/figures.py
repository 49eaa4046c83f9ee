"""The figures of a report as compact numbers: a histogram of each kept tensor, and the attention maps of each call."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import describe
from ...explain.attention_weights import Attention, attention
from ...text import visible
from ...trace.rows import TensorRow
from ...trace.trace import Trace

_NO_ROOM = "The report has no room for more attention maps: export fewer steps."
_BINS = 32
_MOST_READ = 1 << 30  # bytes of tensors read for histograms
_MOST_SHOWN = 12 << 20  # bytes of attention maps in a report
_MOST_APART = 400  # attention calls that are taken apart
_LONGEST = 512  # tokens of an attention map; a larger one is shrunk, so that each cell is a block


class Histograms:
    """One histogram per tensor, shared by the steps that saw it."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._places: dict[tuple[int, int], int] = {}
        self._left = _MOST_READ
        self.made: list[list[float]] = []  # [low, high, counts …] of each

    def of(self, rank: int, row: TensorRow) -> int:
        """The index of a tensor's histogram in `made`; -1 if the tensor was not kept or the budget is spent."""
        key = (rank, row.tensor)
        if key not in self._places:
            self._places[key] = self._add(row)
        return self._places[key]

    def _add(self, row: TensorRow) -> int:
        if row.value is None or row.numel < 2 or row.nbytes > self._left:
            return -1
        self._left -= row.nbytes
        values = describe.kept_values(self._trace, row)
        found = None if values is None else describe.histogram(values, _BINS)
        if found is None:
            return -1
        self.made.append([_short(found.low), _short(found.high), *found.counts.tolist()])
        return len(self.made) - 1


class Attentions:
    """The attention of the calls before position `steps`.

    Args:
        trace: The trace.
        steps: How many steps the report has.
        word: Adds a text to the report's words and returns its index.
        math: Adds a formula and returns its place.

    Attributes:
        found: For each call its maps of the first sequence: either `reason`, a sentence why there are none,
            or `weights`: one byte per cell (weight × 255), (heads, queries, keys) in base64.
        substeps: For each call its five sub-steps: names (English, Chinese), formula, notes, steps, whether a kernel
            performs it with others, and tensors.
    """

    def __init__(self, trace: Trace, steps: int, word: Callable[[str], int], math: Callable[[str], int]) -> None:
        self._trace, self._word, self._math = trace, word, math
        self._left = _MOST_SHOWN
        self.found: dict[int, dict[str, Any]] = {}
        self.substeps: dict[int, list[list[Any]]] = {}
        for at in describe.attention_steps(trace).tolist():
            if at >= steps:
                break
            made = attention(trace, at)
            if made is not None:
                self.found[at] = self._maps(at, made)
            if len(self.substeps) < _MOST_APART:
                self.substeps[at] = self._apart(at, made, steps)

    def _maps(self, at: int, made: Attention) -> dict[str, Any]:
        if made.probabilities is None:
            return {"reason": visible(made.reason)}
        weights = made.probabilities[0]
        heads = np.stack([describe.shrink(head, _LONGEST, _LONGEST) for head in weights])
        if heads.size > self._left:
            return {"reason": _NO_ROOM}
        self._left -= heads.size
        levels = np.rint(np.nan_to_num(heads).clip(0, 1) * 255).astype(np.uint8)
        whole = weights.shape == heads.shape
        return {
            "shape": list(heads.shape),
            "of": list(made.probabilities.shape),
            "queries": [visible(token) for token in made.query_tokens[0]] if whole else [],
            "keys": [visible(token) for token in made.key_tokens[0]] if whole else [],
            "rebuilt": made.rebuilt,
            "cross": describe.looks_across(self._trace, at),
            "weights": base64.b64encode(levels.tobytes()).decode(),
        }

    def _apart(self, at: int, made: Attention | None, steps: int) -> list[list[Any]]:
        word, rows = self._word, []
        known = made if made is not None and made.probabilities is not None else None
        both = (describe.substeps(self._trace, at, language, known) for language in ("en", "zh"))
        for one, chinese in zip(*both, strict=True):
            tensors = [[word(t.symbol), word(t.name), word(t.text), t.rebuilt] for t in one.tensors]
            places = [step for step in one.places if step < steps]
            names, notes = [word(one.name), word(chinese.name)], [word(one.note), word(chinese.note)]
            rows.append([names, self._math(one.tex), notes, places, one.fused, tensors])
        return rows


def _short(value: float) -> float:
    return float(f"{value:.4g}")
