"""The figures of a report as compact numbers: a histogram of each kept tensor, and the attention maps of each call."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ... import describe
from ...explain.attention_weights import attention
from ...text import visible
from ...trace.rows import TensorRow
from ...trace.trace import Trace

_BINS = 32
_MOST_READ = 1 << 30  # bytes of tensors read for histograms
_MOST_SHOWN = 12 << 20  # bytes of attention maps in a report
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


def attentions(trace: Trace, steps: int) -> dict[int, dict[str, Any]]:
    """Collect the attention maps of the first sequence of the batch, for each call before position `steps`.

    Returns:
        For each call either `reason`, a sentence why there is no map, or `weights`: one byte per cell (weight × 255),
        (heads, queries, keys) in base64.
    """
    found: dict[int, dict[str, Any]] = {}
    left = _MOST_SHOWN
    for at in describe.attention_steps(trace).tolist():
        if at >= steps:
            break
        made = attention(trace, at)
        if made is None:
            continue
        if made.probabilities is None:
            found[at] = {"reason": visible(made.reason)}
            continue
        weights = made.probabilities[0]
        heads = np.stack([describe.shrink(head, _LONGEST, _LONGEST) for head in weights])
        if heads.size > left:
            found[at] = {"reason": "The report has no room for more attention maps: export fewer steps."}
            continue
        left -= heads.size
        levels = np.rint(np.nan_to_num(heads).clip(0, 1) * 255).astype(np.uint8)
        whole = weights.shape == heads.shape
        found[at] = {
            "shape": list(heads.shape),
            "of": list(made.probabilities.shape),
            "queries": [visible(token) for token in made.query_tokens[0]] if whole else [],
            "keys": [visible(token) for token in made.key_tokens[0]] if whole else [],
            "rebuilt": made.rebuilt,
            "weights": base64.b64encode(levels.tobytes()).decode(),
        }
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")
