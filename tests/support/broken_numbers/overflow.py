"""Numbers that become too large for their dtype."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .cases import BRAIN, HALF, Broken, Model, case, numbers, one_line


def square_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    squared = x.pow(2)
    return squared.mean(-1)


one_line("SquareHalf", square_half, numbers(2, 5, 8, scale=200, dtype=HALF), line="x.pow(2)", cause="overflow",
         detail="> 65504, the largest float16")  # fmt: skip


def square_brain(self: Any, x: torch.Tensor) -> torch.Tensor:
    squared = x * x
    return squared.sum(-1)


one_line("SquareBrain", square_brain, numbers(2, 5, 8, scale=1e20, dtype=BRAIN), line="x * x", cause="overflow",
         detail="the largest bfloat16")  # fmt: skip


def sum_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    total = x.sum(-1)
    return total / 8


one_line("SumHalf", sum_half, (numbers(2, 5, 8).abs() + 1).mul(3e4).clamp(max=6e4).half(), line="x.sum(-1)",
         cause="overflow", detail="> 65504")  # fmt: skip


def exp_single(self: Any, x: torch.Tensor) -> torch.Tensor:
    raised = torch.exp(x)
    return raised / raised.sum(-1, keepdim=True)


one_line("ExpSingle", exp_single, numbers(2, 5, 8, scale=80), line="torch.exp(x)", cause="overflow",
         detail="the largest float32")  # fmt: skip


def softmax_by_hand(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)


one_line("SoftmaxByHand", softmax_by_hand, numbers(2, 5, 8, scale=12, dtype=HALF), line="x.exp() /", cause="overflow",
         detail="> 65504")  # fmt: skip


def scores_half(self: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2)
    return scores.softmax(-1)


one_line("ScoresHalf", scores_half, numbers(2, 5, 64, scale=90, dtype=HALF), numbers(2, 5, 64, scale=90, dtype=HALF),
         line="q @ k", cause="overflow", detail="> 65504")  # fmt: skip


def scores_in_one_line(self: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q @ k.transpose(-1, -2)).softmax(-1)


one_line("ScoresInOneLine", scores_in_one_line, numbers(2, 5, 64, scale=90, dtype=HALF),
         numbers(2, 5, 64, scale=90, dtype=HALF), line="q @ k", cause="overflow", detail="> 65504")  # fmt: skip


def cast_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    small = x.to(torch.float16)
    return small * 0.001


one_line("CastHalf", cast_half, numbers(2, 5, 8, scale=6e4), line="x.to(", cause="overflow", detail="> 65504")


def argument(self: Any, x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x * 300)


one_line("InAnArgument", argument, numbers(2, 5, 8, scale=200, dtype=HALF), line="x * 300", cause="overflow")


def outlier(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x * -40


OUTLIER = numbers(2, 5, 8, dtype=HALF)
OUTLIER[1, 2, 3] = 3e3
one_line("OneOutlier", outlier, OUTLIER, line="x * -40", cause="overflow", detail="65504, the largest float16")


@case
def overflow_in_a_linear() -> Broken:
    layer = nn.Linear(64, 8, bias=False)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(1)).mul_(1e4)
    inputs = (numbers(2, 5, 64, dtype=HALF),)
    return Broken(Model(layer).half(), inputs, "self.inner(*inputs)", ("inner", "Linear"), "overflow", "65504")


@case
def overflow_that_is_cleaned_away() -> Broken:
    class Clean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * x
            y = torch.nan_to_num(y)
            return y.clamp(-6e4, 6e4)

    inputs = (numbers(2, 5, 8, scale=300, dtype=HALF),)
    return Broken(Model(Clean()), inputs, "y = x * x", ("inner", "Clean"), "overflow", "> 65504", hidden=True)


@case
def overflow_through_six_layers() -> Broken:
    class Layer(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.norm, self.up = nn.LayerNorm(8), nn.Linear(8, 8)
            self.factor = factor

        def forward(self, x: torch.Tensor) -> Any:
            h = self.up(self.norm(x)) * self.factor
            h = h * h
            return x + h

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Layer(3e3 if at == 2 else 1.0) for at in range(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    torch.manual_seed(0)
    return Broken(
        Stack().half(), (numbers(2, 5, 8, dtype=HALF),), "h = h * h", ("layers.2", "Layer"), "overflow", "> 65504"
    )
