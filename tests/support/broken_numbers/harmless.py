"""NaN and Inf that are meant, or reach nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .cases import Broken, Model, case, numbers, one_line


def causal(self: Any, x: torch.Tensor) -> torch.Tensor:
    scores = x @ x.transpose(-1, -2)
    later = torch.full((5, 5), float("-inf")).triu(1)
    return (scores + later).softmax(-1) @ x


one_line("Causal", causal, numbers(2, 5, 8))


@case
def a_mask_that_is_a_buffer() -> Broken:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.later: torch.Tensor
            self.register_buffer("later", torch.full((5, 5), float("-inf")).triu(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(-1, -2)
            scores = scores + self.later
            return scores.softmax(-1) @ x

    return Broken(Model(Causal()), (numbers(2, 5, 8),))


@case
def tokens_that_are_suppressed() -> Broken:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 12)

        def forward(self, x: torch.Tensor) -> Any:
            logits = self.head(x)
            logits[..., 3:5] = -float("inf")
            return logits

    return Broken(Head(), (numbers(2, 5, 8),))


@case
def a_logarithm_of_a_mask() -> Broken:
    class Log(nn.Module):
        def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            mask = keep.float().log()
            return (x + mask).softmax(-1)

    keep = torch.ones(2, 5, 5, dtype=torch.bool).tril()
    return Broken(Model(Log()), (numbers(2, 5, 5), keep))


@case
def nan_in_padding_alone() -> Broken:
    class Padded(nn.Module):
        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            share = x / attention_mask[..., None]
            return share * 0

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Padded()

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.inner(x, attention_mask)

    mask = torch.ones(2, 5, dtype=torch.int64)
    mask[1, 3:] = 0
    return Broken(Net(), (numbers(2, 5, 8), mask))
