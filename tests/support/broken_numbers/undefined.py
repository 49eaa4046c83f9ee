"""Operations whose result is not defined: 0·inf, inf−inf, log 0, 0/0 and roots."""

from __future__ import annotations

from typing import Any

import torch

from .cases import BRAIN, numbers, one_line
from .masked_rows import ADDED, left_padded


def mask_multiplied(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    mask = (~keep).float() * float("-inf")
    return x + mask


one_line("MaskMultiplied", mask_multiplied, numbers(2, 5, 5), left_padded(), line="mask = (~keep)", cause="0·inf")


def mask_times(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = torch.zeros_like(x)
    return weights * mask


one_line("MaskTimes", mask_times, numbers(2, 5, 5), ADDED, line="weights * mask", cause="0·inf")


def mask_taken_away(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    scores = x + mask
    return scores - scores.amin(-1, keepdim=True)


one_line("MaskTakenAway", mask_taken_away, numbers(2, 5, 5), ADDED, line="scores.amin", cause="inf−inf")


def entropy(self: Any, p: torch.Tensor) -> torch.Tensor:
    return -(p * torch.log(p)).sum(-1)


one_line("Entropy", entropy, torch.tensor([[0.5, 0.3, 0.2, 0.0]] * 2), line="torch.log(p)", cause="log 0")


def logarithm(self: Any, x: torch.Tensor) -> torch.Tensor:
    levels = x.relu().log()
    return levels * 2


one_line("Logarithm", logarithm, numbers(2, 5, 8), line="x.relu().log()", cause="log 0")


def logarithm_of_negative(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.log(x)


one_line("LogarithmOfNegative", logarithm_of_negative, numbers(2, 5, 8), line="torch.log(x)", cause="other",
         detail="log of a negative")  # fmt: skip


def share(self: Any, x: torch.Tensor) -> torch.Tensor:
    kept = x.relu()
    return kept / kept.sum(-1, keepdim=True)


one_line("Share", share, -numbers(2, 5, 8).abs(), line="kept / kept", cause="0/0")


def length(self: Any, x: torch.Tensor) -> Any:
    direction = x / x.norm(dim=-1, keepdim=True)
    return direction


one_line("Direction", length, torch.zeros(2, 5, 8, dtype=BRAIN), line="x / x.norm", cause="0/0")


def inverse(self: Any, x: torch.Tensor) -> torch.Tensor:
    scale = 1 / x
    return scale * 2


one_line(
    "Inverse", inverse, torch.arange(8.0).expand(2, 5, 8).clone(), line="1 / x", cause="other", detail="divided by 0"
)


def deviation(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x.std(-1)


one_line("Deviation", deviation, numbers(2, 5, 1), line="x.std(-1)", cause="0/0", detail="a single number")


def root(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(x)


one_line("Root", root, numbers(2, 5, 8), line="torch.sqrt(x)", cause="negative root", detail="root of -")


def variance(self: Any, x: torch.Tensor) -> torch.Tensor:
    spread = x.pow(2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True).pow(2) - 0.1
    return x * torch.rsqrt(spread)


one_line("Variance", variance, torch.full((2, 5, 8), 3.0), line="torch.rsqrt(spread)", cause="negative root")
