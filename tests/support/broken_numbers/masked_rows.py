"""Softmaxes over rows that see nothing, and losses without targets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .cases import BRAIN, Broken, Model, case, numbers, one_line


def left_padded(size: int = 5) -> torch.Tensor:
    keep = torch.ones(2, size, size, dtype=torch.bool).tril()
    keep[0, :, :2] = False
    return keep


def filled(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    scores = x.masked_fill(~keep, float("-inf"))
    weights = scores.softmax(-1)
    return weights


one_line("MaskedRow", filled, numbers(2, 5, 5), left_padded(), line="scores.softmax", cause="masked row",
         detail="softmax of a row that sees nothing")  # fmt: skip


def filled_in_place(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    scores = x * 1.0
    scores.masked_fill_(~keep, float("-inf"))
    return torch.softmax(scores, dim=-1)


one_line("MaskedRowInPlace", filled_in_place, numbers(2, 5, 5), left_padded(), line="torch.softmax", cause="masked row",
         detail="sees nothing")  # fmt: skip


def added(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return F.softmax(x + mask, dim=-1)


ADDED = torch.zeros(2, 5, 5).masked_fill(~left_padded(), float("-inf"))
one_line("MaskAdded", added, numbers(2, 5, 5), ADDED, line="F.softmax", cause="masked row", detail="sees nothing")
one_line("MaskAddedBrain", added, numbers(2, 5, 5, dtype=BRAIN), ADDED.to(BRAIN), line="F.softmax", cause="masked row")


@case
def masked_row_in_fused_attention() -> Broken:
    class Fused(nn.Module):
        def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(-1, -2)
            log = torch.log_softmax(scores.masked_fill(~keep, -torch.inf), -1)
            return log.exp() @ x

    return Broken(Model(Fused()), (numbers(2, 5, 8), left_padded()), "log_softmax", ("inner", "Fused"), "masked row")


@case
def masked_row_of_a_module() -> Broken:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor, padding: torch.Tensor) -> Any:
            return self.attention(x, x, x, key_padding_mask=padding)[0]

    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0] = True
    model = Heads().requires_grad_(False)
    return Broken(
        model, (numbers(2, 5, 8), padding), "self.attention(x", ("attention", "MultiheadAttention"), "masked row"
    )


def fused(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(keep.shape).masked_fill(~keep, float("-inf"))
    scores = torch.baddbmm(mask, x, x.transpose(-1, -2))
    return F.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)


one_line("MaskInAProduct", fused, numbers(2, 5, 8), left_padded(), line="F.softmax", cause="masked row")


def loss(self: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x.flatten(0, 1), labels.flatten())


one_line("NoTargets", loss, numbers(2, 5, 8), torch.full((2, 5), -100), line="F.cross_entropy", cause="0/0",
         detail="no targets")  # fmt: skip


def targets_in_the_line(self: Any, x: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x.flatten(0, 1), torch.full((10,), -100))


one_line("NoTargetsKept", targets_in_the_line, numbers(2, 5, 8), line="F.cross_entropy", cause="0/0",
         detail="no targets")  # fmt: skip


def unlikely(self: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = x.masked_fill(torch.arange(8) < 3, -torch.inf)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


one_line("NoProbability", unlikely, numbers(2, 5, 8), torch.ones(2, 5, dtype=torch.int64), line="F.cross_entropy",
         cause="log 0")  # fmt: skip
