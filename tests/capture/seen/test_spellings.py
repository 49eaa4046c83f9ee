"""Norms and feed-forward parts are seen however they are spelled; what only resembles one is not taken for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
N, H = 8, 12
X = torch.randn(2, 6, N, generator=torch.Generator().manual_seed(1))
Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Parts(nn.Module):
    """Weights of a norm, and of feed-forward parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.g, self.b, self.eps = nn.Parameter(torch.randn(N)), nn.Parameter(torch.randn(N)), 1e-6
        self.up, self.gate, self.down = nn.Linear(N, H), nn.Linear(N, H), nn.Linear(H, N)
        self.both, self.conv1, self.conv2 = nn.Linear(N, 2 * H), nn.Conv1d(N, H, 1), nn.Conv1d(H, N, 1)
        self.w, self.v = nn.Parameter(torch.randn(N, H)), nn.Parameter(torch.randn(H, N))


class Norm(Parts):
    """A norm without parts of its own, so that its epsilon is known to be the norm's."""

    def __init__(self) -> None:
        super().__init__()
        self._modules.clear()


def verdicts(name: str, forward: Forward, base: type[nn.Module], x: torch.Tensor = X) -> list[tuple[str, str, Any]]:
    model = type(name, (base,), {"forward": forward})().eval()
    with tftrace.record(model) as trace:
        model(x)
    whole = [check for step in trace if step.kind == "module" and not step.name for check in step.checks]
    return [(check.equation, check.verdict, check.variant) for check in whole]


def scaled(x: torch.Tensor) -> Any:
    return x.norm(2, dim=-1, keepdim=True) * N**-0.5


def in_one_call(s: Any, x: torch.Tensor) -> torch.Tensor:
    var, mean = torch.var_mean(x, -1, keepdim=True, unbiased=False)
    return torch.addcmul(s.b, (x - mean) * torch.rsqrt(var + s.eps), s.g)


def by_sums(s: Any, x: torch.Tensor) -> Any:
    off = x - x.sum(-1, keepdim=True) / N
    return off / ((off * off).sum(-1, keepdim=True) / N + s.eps).sqrt() * s.g + s.b


def by_deviation(s: Any, x: torch.Tensor) -> Any:
    std, mean = torch.std_mean(x, -1, keepdim=True, unbiased=False)
    return (x - mean) / (std + s.eps) * s.g + s.b


NORMS: dict[str, Forward] = {
    "length by the root of n": lambda s, x: x / (scaled(x) + s.eps) * s.g,
    "length, clamped": lambda s, x: x / scaled(x).clamp(min=s.eps) * s.g,
    "vector_norm": lambda s, x: (
        x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=s.eps) * math.sqrt(N) * s.g
    ),
    "sum by n": lambda s, x: s.g * x * torch.rsqrt((x * x).sum(-1, keepdim=True) / x.shape[-1] + s.eps),
    "reciprocal": lambda s, x: s.g * (x * torch.reciprocal((x.square().mean(-1, keepdim=True) + s.eps).sqrt())),
    "one by a root": lambda s, x: s.g * (x * (1 / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + s.eps))),
    "var_mean and addcmul": in_one_call,
    "sums by n": by_sums,
    "std_mean": by_deviation,
}


@pytest.mark.parametrize("spelled", NORMS)
def test_norms(spelled: str) -> None:
    found = [one for one in verdicts("Norm", NORMS[spelled], Norm) if "norm" in one[0]]
    assert found in ([("rms-norm-seen", "holds", None)], [("layer-norm-seen", "holds", None)])


SQUARED, SUMMED = "the mean of squares, not by its root", "the root of the sum of squares, not of their mean"
MISTAKEN: dict[str, tuple[Forward, str]] = {
    "no root": (lambda s, x: x / (x.square().mean(-1, keepdim=True) + s.eps) * s.g, SQUARED),
    "a sum": (lambda s, x: x * torch.rsqrt(x.square().sum(-1, keepdim=True) + s.eps) * s.g, SUMMED),
    "a length": (lambda s, x: x / x.norm(dim=-1, keepdim=True) * s.g, SUMMED),
}


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_mistake_in_what_is_called_a_norm(mistake: str) -> None:
    forward, by = MISTAKEN[mistake]
    assert verdicts("RMSNorm", forward, Norm) == [("rms-norm-seen", "differs", f"divided by {by}")]
    assert verdicts("NormalizedCorrelation", forward, Norm) == []  # what else it may be is nobody's mistake


def test_a_variance_without_its_root() -> None:
    def forward(s: Any, x: torch.Tensor) -> Any:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + s.eps) * s.g + s.b

    found = [("layer-norm-seen", "differs", "divided by the variance, not by its root")]
    assert verdicts("LayerNorm", forward, Norm) == found and verdicts("NormalizedLoss", forward, Norm) == []


def test_nothing_is_said_where_a_length_is_clamped() -> None:
    rows = torch.cat([X[:, :3], X[:, 3:] * 0], 1)
    assert verdicts("Norm", NORMS["length, clamped"], Norm, rows) == []


FEED_FORWARD: dict[str, Forward] = {
    "addmm": lambda s, x: torch.addmm(s.b, torch.addmm(s.up.bias, x.view(-1, N), s.w).relu(), s.v),
    "einsum": lambda s, x: torch.einsum("bth,hd->btd", F.relu(torch.einsum("btd,dh->bth", x, s.w)), s.v),
    "einsum, turned": lambda s, x: torch.einsum("bth,dh->btd", F.silu(torch.einsum("btd,dh->bth", x, s.w)), s.w),
    "width 1": lambda s, x: s.conv2(F.gelu(s.conv1(x.mT))).mT,
    "silu by hand": lambda s, x: s.down((h := s.up(x)) * torch.sigmoid(h) * s.gate(x)),
    "glu": lambda s, x: s.down(F.glu(s.both(x))),
    "leaky": lambda s, x: s.down(F.leaky_relu(s.up(x))),
    "elu": lambda s, x: s.down(F.elu(s.up(x))),
    "hardswish": lambda s, x: s.down(F.hardswish(s.up(x))),
}


@pytest.mark.parametrize("spelled", FEED_FORWARD)
def test_feed_forward_parts(spelled: str) -> None:
    found = [one for one in verdicts("Part", FEED_FORWARD[spelled], Parts) if "feed-forward" in one[0]]
    kind = "gated-feed-forward-seen" if spelled in ("silu by hand", "glu") else "feed-forward-seen"
    assert found == [(kind, "holds", None)]


@pytest.mark.parametrize(
    "forward",
    [
        lambda s, x: s.down(F.leaky_relu(s.up(x), 0.2)),  # formulas know the usual slope alone
        lambda s, x: torch.einsum("bth,hd->bd", F.relu(s.up(x)), s.v),  # a sum over tokens as well
        lambda s, x: s.conv2(F.gelu(F.conv1d(x.mT, s.conv1.weight, padding=1)))[..., 1:-1].mT,
        lambda s, x: s.down(F.gelu(s.conv1(x.mT)).mT),
    ],
)
def test_what_only_resembles_one(forward: Forward) -> None:
    assert [one for one in verdicts("Part", forward, Parts) if "feed-forward" in one[0]] == []
