"""Ways to break modules of one's own, whose equations were seen in what ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import wrap_torch_function

from tftrace.capture.seen.function_kinds import KINDS

from .breaking import Patch, breaks


class Own(nn.Module):
    """Attention of one's own, which may go wrong between its first product and its second."""

    def __init__(self, run: Callable[[Any, Any, Any], torch.Tensor]) -> None:
        super().__init__()
        self.qkv, self.run = nn.Linear(16, 48), run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(3 * x).chunk(3, -1))
        return self.run(q, k, v).transpose(1, 2).flatten(2)


def own(equation: str, run: Callable[[Any, Any, Any], torch.Tensor], variant: str | None = None) -> None:
    """Break attention so."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        return Own(run).eval(), torch.randn(2, 5, 16)

    breaks(equation, variant)(build)


CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
FACTOR = "scores scaled by a factor of their own instead of 1/sqrt(d_k)"
own("attention-seen", lambda q, k, v: (q @ k.mT).softmax(-1) @ v, "scores not scaled")
own("attention-seen", lambda q, k, v: (q @ k.mT / 4).softmax(-1) @ v, FACTOR)
own("attention-seen", lambda q, k, v: (0.7 * q @ k.mT / 2).softmax(-1) @ v, FACTOR)
own("attention-seen", lambda q, k, v: (q @ k.mT * torch.rand(4, 1, 1)).softmax(-1) @ v,
    "scores scaled by factors of their own that are tensors, instead of 1/sqrt(d_k)")  # fmt: skip
own("attention-seen", lambda q, k, v: (5 * torch.tanh(q @ k.mT / 2 / 5)).softmax(-1) @ v,
    "soft-capped scores (Gemma 2)")  # fmt: skip
own("attention-seen", lambda q, k, v: (q @ k.mT / 2 + CAUSAL).softmax(-1) @ v,
    "a boolean mask is added to the scores as the numbers 0 and 1, and hides nothing")  # fmt: skip
own("attention-seen", lambda q, k, v: (q @ k.mT / 2).masked_fill(~CAUSAL, 1e-9).softmax(-1) @ v,
    "what is to be hidden is set to a number that hides little")  # fmt: skip
own("attention-called", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0), "scores not scaled")
own("attention-called", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3), FACTOR)
own("attention-called", lambda q, k, v: F.scaled_dot_product_attention(q * 3, k, v, CAUSAL), FACTOR)


def kernel(patch: Patch, kind: str, run: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function of torch that computes something else."""
    made = wrap_torch_function(lambda x, *rest, **more: (x,))(run)
    patch.setitem(KINDS, made, kind)
    return made


@breaks("attention-seen")
def _softmax_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    softmax = kernel(patch, "softmax", lambda x, dim: F.softmax(1.01 * x, dim))
    return Own(lambda q, k, v: softmax(q @ k.mT / 2, -1) @ v).eval(), torch.randn(2, 5, 16)


@breaks("attention-called")
def _kernel_that_ignores_the_mask(patch: Patch) -> tuple[nn.Module, Any]:
    fused = kernel(patch, "fused_attention", lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v))
    return Own(lambda q, k, v: fused(q, k, v, CAUSAL)).eval(), torch.randn(2, 5, 16)
