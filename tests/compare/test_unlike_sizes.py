"""Tensors whose sizes tell little: made of other tokens, padded by the model itself, or next to the positions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .runs import compared, first_place, ids, is_sound
from .test_hard_pairs import Halves


class Running(nn.Module):
    """Attention without a softmax, whose cache is the sum of the products of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.key, self.head = nn.Embedding(40, 8), nn.Linear(8, 8), nn.Linear(8, 40)

    def forward(self, input_ids: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        given = self.embed(input_ids)
        key = self.key(given)
        made = key[..., None] * given[:, :, None]
        added = made.sum(1, keepdim=True)
        sums = made.cumsum(1) + (0 if past is None else past)
        return self.head(torch.einsum("btd,btde->bte", given, sums)), added if past is None else past + added


def test_a_sum_over_the_tokens_meets_none_over_fewer_of_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, tokens = Running(), ids(2, 12) % 40

    def in_pieces() -> None:
        _, past = model(tokens[:, :9])
        model(tokens[:, 9:], past)

    found = compared(tmp_path, (model, lambda: model(tokens)), (model, in_pieces))
    assert found.verdict == "rounding" and not found.pairs.healed, found.sentence


class Padding(nn.Module):
    """Fills the tokens up to a multiple of eight; where there are eight, they may begin with padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.wide, self.head = nn.Embedding(40, 12), nn.Linear(12, 12), nn.Linear(12, 6)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        size = input_ids.shape[1]
        filled = F.pad(input_ids, (0, -size % 8))
        hidden = self.wide(self.embed(filled))
        made: Tensor = self.head(hidden[:, :size])
        return made


def test_tokens_that_the_model_padded_itself_are_not_taken_for_those_of_a_padded_row(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, one = Padding(), ids(1, 5) % 40
    row = torch.cat([torch.zeros(1, 3, dtype=torch.long), one], 1)
    mask = (torch.arange(8) > 2).long()[None]
    alone, padded = lambda: model(one, torch.ones_like(one)), lambda: model(row, mask)
    found = compared(tmp_path, (model, alone), (model, padded), rows=(0, 0))
    assert is_sound(found) and not found.pairs.healed, found.sentence


class Places(nn.Module):
    """A model of sounds, whose only embedding is that of the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.place = nn.Conv1d(1, 6, 4, 4), nn.Embedding(3, 6)

    def forward(self, values: Tensor) -> Tensor:
        made: Tensor = self.frames(values).transpose(1, 2) + self.place(torch.arange(3)[None]).mean(1)
        return made


def test_positions_are_not_taken_for_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, given = Places(), torch.randn(2, 1, 8)
    found = compared(tmp_path, (model, lambda: model(given[:1])), (model, lambda: model(given)), rows=(0, 0))
    assert is_sound(found), found.sentence


class Threshold(nn.Module):
    """Leaves out what is below a limit."""

    limit = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.out = Halves(64, 64), nn.Linear(64, 64)

    def forward(self, given: Tensor) -> Tensor:
        scores = self.scores(given)
        low = scores < self.limit
        kept = scores.masked_fill(low, 0.0)
        made: Tensor = self.out(kept)
        return made


def test_a_comparison_that_falls_otherwise_within_rounding_leaves_it_open(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, other, given = Threshold(), Threshold(), torch.randn(2, 5, 64)
    other.load_state_dict(model.state_dict())
    other.scores.turned = True
    with torch.no_grad():
        one, two = model.scores(given), other.scores(given)
    apart = ((one != two) & (one.abs() > 0.5)).nonzero()[0].tolist()
    Threshold.limit = max(one[tuple(apart)].item(), two[tuple(apart)].item())
    found = compared(tmp_path, (model, lambda: model(given)), (other, lambda: other(given)))
    assert found.verdict == "undecided" and found.first is not None and "fell otherwise" in found.first.cause
    other.limit = -10.0  # no choice within rounding: nothing is left out any more
    (tmp_path / "more").mkdir()
    found = compared(tmp_path / "more", (model, lambda: model(given)), (other, lambda: other(given)))
    assert found.verdict == "differs" and "kept" in first_place(found), found.sentence
