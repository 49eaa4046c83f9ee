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


class Given(nn.Module):
    """Something of one's own that is given one tensor."""

    def __init__(self, run: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.g, self.b = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.rand(8))
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def given(equation: str, run: Callable[..., torch.Tensor], variant: str | None = None) -> None:
    """Break what is computed of a tensor so."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        return Given(run).eval(), torch.randn(3, 5, 8)

    breaks(equation, variant)(build)


def centered(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(-1, keepdim=True)


given("layer-norm-seen", lambda s, x: s.g * centered(x) / (x.std(-1, keepdim=True) + 1e-6) + s.b,
      "divided by the deviation of a sample (n - 1) plus epsilon")  # fmt: skip
given("layer-norm-seen", lambda s, x: centered(x) / torch.sqrt(x.var(-1, keepdim=True) + 0.1) * s.g + s.b,
      "the variance of a sample (n - 1)")  # fmt: skip
given("layer-norm-seen", lambda s, x: centered(x) / (x.std(-1, keepdim=True, unbiased=False) + 1e-3) * s.g + s.b,
      "divided by the deviation plus epsilon, which stands beside the root")  # fmt: skip
given("rms-norm-seen", lambda s, x: x / (x.pow(2).mean(-1, keepdim=True).sqrt() + 1e-2) * s.g,
      "divided by the root mean square plus epsilon, which stands beside the root")  # fmt: skip


def named(name: str, equation: str, run: Callable[..., torch.Tensor], variant: str) -> None:
    """Break what a class of this name computes of a tensor so."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        return type(name, (Given,), {})(run).eval(), torch.randn(3, 5, 8)

    breaks(equation, variant)(build)


named("RMSNorm", "rms-norm-seen", lambda s, x: x / (x.pow(2).mean(-1, keepdim=True) + 1e-6) * s.g,
      "divided by the mean of squares, not by its root")  # fmt: skip
named("RMSNorm", "rms-norm-seen", lambda s, x: x / (x.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() * s.g,
      "divided by the root of the sum of squares, not of their mean")  # fmt: skip
named("LayerNorm", "layer-norm-seen",
      lambda s, x: centered(x) / (x.var(-1, keepdim=True, correction=0) + 1e-6) * s.g + s.b,
      "divided by the variance, not by its root")  # fmt: skip


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


@breaks("feed-forward-seen")
def _relu_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    relu = kernel(patch, "relu", F.leaky_relu)
    return Given(lambda s, x: s.down(relu(s.up(x)))).eval(), torch.randn(3, 5, 8)


@breaks("gated-feed-forward-seen")
def _gate_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    silu = kernel(patch, "silu", F.gelu)
    return Given(lambda s, x: s.down(silu(s.up(x)) * s.gate(x))).eval(), torch.randn(3, 5, 8)


@breaks("layer-norm-seen")
def _mean_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    mean = kernel(patch, "mean", lambda x, dim, keepdim: 0.99 * x.mean(dim, keepdim))
    normed = lambda s, x: (x - mean(x, -1, True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()  # noqa: E731
    return Given(normed).eval(), torch.randn(3, 5, 8) + 1


@breaks("rms-norm-seen")
def _function_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    rms_norm = kernel(patch, "rms_norm", lambda x, shape, g, eps: F.rms_norm(x, shape, g, 100 * eps))
    return Given(lambda s, x: rms_norm(x, (8,), s.g, 1e-4)).eval(), torch.randn(3, 5, 8)


@breaks("embedding-times-root-seen")
def _rows_that_are_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    rows = kernel(patch, "embedding", lambda i, table: F.embedding((i + 1) % 9, table))
    table = torch.randn(9, 8)
    return Given(lambda s, i: rows(i, table) * 8**0.5).eval(), torch.arange(6)[None]


@breaks("post-norm-residual-seen")
def _sum_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    add = kernel(patch, "add", lambda x, y: x + 1.001 * y)
    normed = lambda s, x: F.layer_norm(add(x, s.down(F.relu(s.up(x)))), (8,), s.g, s.b)  # noqa: E731
    return Given(normed).eval(), torch.randn(3, 5, 8)


@breaks("pre-norm-residual-seen")
def _sum_of_something_else(patch: Patch) -> tuple[nn.Module, Any]:
    add = kernel(patch, "add", lambda x, y: 0.999 * x + y)
    return Given(lambda s, x: add(x, s.down(s.up(F.layer_norm(x, (8,)))))).eval(), torch.randn(3, 5, 8)


def halves_turned(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((-x[..., 4:], x[..., :4]), -1)


ANGLES = torch.arange(5)[:, None] * 0.1 ** torch.arange(4)
IN_TURNS = ANGLES.repeat_interleave(2, -1)
given("rotary-seen", lambda s, x: x * IN_TURNS.cos() + halves_turned(x) * IN_TURNS.sin(),
      "the two features of a pair are turned by different angles: the table is laid out for other pairs")  # fmt: skip
given("gelu-seen", lambda s, x: 0.5 * x * (1 + torch.erf(x / 1.41)))
given("gelu-tanh-seen", lambda s, x: 0.5 * x * (1 + torch.tanh(0.7979 * (x + 0.044715 * x**3))))
given("gelu-tanh-seen", lambda s, x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.0044715 * x**3))))


def positions(base: float = 10000.0, less: int = 0) -> torch.Tensor:
    """All sines, then all cosines, of 5 positions."""
    found = torch.arange(5)[:, None] * base ** (-torch.arange(4) / (4 - less))
    return torch.cat((found.sin(), found.cos()), -1)


given("sinusoidal-positions-seen", lambda s, x: x + positions(1000.0).unflatten(-1, (2, 4)).mT.flatten(-2),
      "another base than 10000")  # fmt: skip
given("sinusoidal-positions-seen", lambda s, x: x + positions(),
      "all sines first, then all cosines (not alternating)")  # fmt: skip
given("sinusoidal-positions-seen", lambda s, x: x + positions(less=1),
      "all sines first, then all cosines, of frequencies down to 1/10000 itself (tensor2tensor)")  # fmt: skip


@breaks("tied-head-seen")
def _head_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    linear = kernel(patch, "linear", lambda x, table: F.linear(x, 1.001 * table))
    table = nn.Parameter(torch.randn(9, 8))
    return Given(lambda s, i: linear(F.embedding(i, table).tanh(), table)).eval(), torch.arange(6)[None]


@breaks("cross-entropy-seen", "targets that are to be ignored are counted")
def _ignored_targets_that_count(patch: Patch) -> tuple[nn.Module, Any]:
    def counted(x: torch.Tensor, t: torch.Tensor, ignore_index: int) -> torch.Tensor:
        return F.cross_entropy(x, t.clamp(min=0))

    cross_entropy = kernel(patch, "cross_entropy", counted)
    targets = torch.tensor([-1, 2, 3, -1, 0])
    return Given(lambda s, x: cross_entropy(x, targets, ignore_index=-1)).eval(), torch.randn(5, 8)


@breaks("cross-entropy-seen")
def _loss_of_another_base(patch: Patch) -> tuple[nn.Module, Any]:
    cross_entropy = kernel(patch, "cross_entropy", lambda x, t: F.cross_entropy(x, t) / 0.69)
    return Given(lambda s, x: cross_entropy(x, torch.arange(5))).eval(), torch.randn(5, 8)


@breaks("squared-error-seen")
def _error_that_is_not_squared(patch: Patch) -> tuple[nn.Module, Any]:
    mse_loss = kernel(patch, "mse_loss", lambda x, t: (x - t).abs().mean())
    return Given(lambda s, x: mse_loss(x, s.up(x)[..., :8])).eval(), torch.randn(3, 5, 8)


class Heads(nn.Module):
    """Several heads of one's own, whose last map may go wrong."""

    def __init__(self, last: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(12, 12) for _ in range(4))
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).unflatten(-1, (4, 3)).transpose(1, 2) for part in (self.q, self.k, self.v))
        joined = ((q @ k.mT / 3**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        made: torch.Tensor = self.last(joined, self.o.weight, self.o.bias)
        return made


@breaks("multi-head-seen")
def _last_map_that_is_wrong(patch: Patch) -> tuple[nn.Module, Any]:
    return Heads(kernel(patch, "linear", lambda x, w, b: F.linear(x, w.mT, b))).eval(), torch.randn(2, 5, 12)
