"""An equation that was seen to be computed: the pattern, what its symbols are, and since which step it is under way."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

# The patterns that there are; of several that a call computes the first is its principal equation.
PATTERNS = (
    *(
        "attention",
        "fused-attention",
        "attention-dropout",
        "multi-head-projections",
        "multi-head",
        "gated-feed-forward",
        "feed-forward",
    ),
    *(
        "post-norm-residual",
        "pre-norm-residual",
        "rotary",
        "rotary-angles",
        "layer-norm",
        "rms-norm",
        "gelu",
        "gelu-tanh",
    ),
    *("positions-in-order", "sinusoids", "scaled-embedding", "tied-head", "cross-entropy", "squared-error"),
    *("norm-factor", "linear-bias", "mask-given", "layer-order"),
)


class Unfit(Exception):
    """What was found cannot be one of the equations after all."""


@dataclass
class Proposal:
    """A pattern of `recipes/seen.toml` and what its symbols stand for; all of it happened from step `since` on."""

    pattern: str
    since: int
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    values: dict[str, float | str] = field(default_factory=dict)
    clamped: bool = False  # whether its epsilon is the least that it divides by, not one that is added
    named: tuple[str, ...] = ()  # one of these is in the name of what computes it, where numbers alone do not tell
    random: str = ""  # why it cannot be checked, if something was dropped out
    sure: bool = True  # whether it can be told which dimension is which; otherwise it may hold, but not differ

    @property
    def rank(self) -> int:
        """Its place among the patterns."""
        return PATTERNS.index(self.pattern)


def need(tensor: torch.Tensor | None) -> torch.Tensor:
    """A tensor that is still there; raises Unfit for one that is gone or was written to."""
    if tensor is None:
        raise Unfit
    return tensor
