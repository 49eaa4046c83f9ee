"""Losses on the tape: cross entropy of logits and tokens, and the mean of squared differences."""

from __future__ import annotations

import torch

from .proposal import Proposal, need
from .tape import Made, Operand

_MOST = 1 << 20  # logits that are read for one number


def loss(made: Made) -> Proposal | None:
    """A loss that torch computes in one call, as a mean."""
    given, target = made.get(0, "input"), made.get(1, "target")
    others = [made.kwargs.get(name) for name in ("weight", "size_average", "reduce")]
    if not isinstance(given, Operand) or not isinstance(target, Operand) or len(made.args) > 2 or others != [None] * 3:
        return None
    x, t = need(given.tensor), need(target.tensor)
    if x.numel() > _MOST or made.kwargs.get("reduction", "mean") != "mean":
        return None
    if made.kind == "mse_loss":
        return _found("squared-error", made, x.reshape(-1), t.reshape(-1)) if x.shape == t.shape else None
    if x.dim() != 2 or t.dim() != 1 or t.dtype is not torch.int64 or made.kwargs.get("label_smoothing"):
        return None
    found = _found("cross-entropy", made, x, t)
    found.values["i"] = float(made.kwargs.get("ignore_index", -100))
    return found


def _found(pattern: str, made: Made, x: torch.Tensor, t: torch.Tensor) -> Proposal:
    return Proposal(pattern, made.step, {"x": x, "t": t, "out": need(made.result)})
