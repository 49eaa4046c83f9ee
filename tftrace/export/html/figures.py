"""What the report draws: a histogram of each tensor that was kept, and the attention of each call, as small numbers."""

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
_MOST_READ = 1 << 30  # bytes of tensors that histograms are made of
_MOST_SHOWN = 12 << 20  # bytes of attention in a report
_LONGEST = 512  # tokens of an attention map; beyond this each cell stands for a block


class Histograms:
    """Made once for each tensor, whichever steps saw it."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._places: dict[tuple[int, int], int] = {}
        self._left = _MOST_READ
        self.made: list[list[float]] = []  # least, most, then the counts

    def of(self, rank: int, row: TensorRow) -> int:
        """The place of a tensor's histogram in `made`; -1 where it was not kept, or there have been enough."""
        key = (rank, row.tensor)
        if key not in self._places:
            self._places[key] = self._add(row)
        return self._places[key]

    def _add(self, row: TensorRow) -> int:
        if row.value is None or row.numel < 2 or row.nbytes > self._left:
            return -1
        self._left -= row.nbytes
        values = describe.kept(self._trace, row)
        found = None if values is None else describe.histogram(values, _BINS)
        if found is None:
            return -1
        self.made.append([_short(found.low), _short(found.high), *found.counts.tolist()])
        return len(self.made) - 1


def attentions(trace: Trace, steps: int) -> dict[int, dict[str, Any]]:
    """The attention of each call below `steps`: of the first of the batch a map a head, its weights in 255ths; or the
    reason why there is none."""
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
        heads = np.stack([describe.shrunk(head, _LONGEST, _LONGEST) for head in weights])
        if heads.size > left:
            found[at] = {"reason": "The report holds as many attention maps as it should: export fewer steps."}
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
