"""Attention by einsum, whose letters stand in many orders."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .entry import Entry, Made, floats, style

ENTRIES: list[Entry] = []
ordinary = style("einsum", ENTRIES)


class Projected(nn.Module):
    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.Linear(width, width)

    def parts(self, x: torch.Tensor) -> Any:
        return (part(x).unflatten(-1, (self.heads, -1)) for part in (self.to_q, self.to_k, self.to_v))


@ordinary("attention")
def heads_first() -> Made:
    class Attention(Projected):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.transpose(1, 2) for part in self.parts(x))
            sim = torch.einsum("b h i d, b h j d -> b h i j", q, k) * self.scale
            out = torch.einsum("b h i j, b h j d -> b h i d", sim.softmax(dim=-1), v)
            return self.to_out(out.transpose(1, 2).flatten(2))

    return Attention(), (floats(2, 5, 16),)


@ordinary("attention")
def tokens_first() -> Made:
    class Attention(Projected):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.parts(x)
            weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", q * self.scale, k), dim=-1)
            return self.to_out(torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))

    return Attention(), (floats(2, 5, 16),)


@ordinary("attention")
def keys_in_the_middle() -> Made:
    """labml: queries, keys, batch, heads."""

    class Attention(Projected):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.parts(x)
            scores = torch.einsum("ibhd,jbhd->ijbh", q, k)
            scores *= self.scale
            weights = nn.functional.softmax(scores, dim=1)
            return self.to_out(torch.einsum("ijbh,jbhd->ibhd", weights, v).reshape(*x.shape))

    return Attention(), (floats(5, 2, 16),)


@ordinary("attention")
def one_key_head() -> Made:
    class MultiQuery(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.kv, self.o = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.q(x).view(2, 5, 4, 4)
            k, v = self.kv(x).split(4, dim=-1)
            weights = torch.einsum("bnhd,bmd->bhnm", q, k).div(2.0).softmax(-1)
            return self.o(torch.einsum("bhnm,bmd->bnhd", weights, v).flatten(-2))

    return MultiQuery(), (floats(2, 5, 16),)


@ordinary("attention")
def grouped_heads() -> Made:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.q(x).view(2, 5, 2, 2, 4), self.k(x).view(2, 5, 2, 4), self.v(x).view(2, 5, 2, 4)
            scores = torch.einsum("bqgrd,bkgd->bgrqk", q, k) / 4**0.5
            mixed = torch.einsum("bgrqk,bkgd->bqgrd", scores.softmax(-1), v)
            return self.o(mixed.reshape(2, 5, 16))

    return Grouped(), (floats(2, 5, 16),)


@ordinary("attention")
def with_dots() -> Made:
    class Attention(Projected):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.movedim(-2, -3) for part in self.parts(x))
            scores = torch.einsum("...id,...jd->...ij", q, k) * self.scale
            mixed = torch.einsum("...ij,...jd->...id", scores.softmax(-1), v)
            return self.to_out(mixed.movedim(-3, -2).flatten(-2))

    return Attention(), (floats(2, 3, 5, 16),)


@ordinary("attention")
def one_head() -> Made:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wq, self.wk, self.wv = (nn.Parameter(torch.randn(8, 8)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = x @ self.wq, x @ self.wk, x @ self.wv
            scores = torch.einsum("bid,bjd->bij", q, k) / 8**0.5
            return torch.einsum("bij,bjd->bid", scores.softmax(-1), v)

    return Attention(), (floats(2, 5, 8),)


@ordinary("attention")
def causal_by_where() -> Made:
    class Attention(Projected):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.parts(x)
            scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * self.scale
            seen = torch.ones(5, 5, dtype=torch.bool).tril()
            scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
            return self.to_out(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2))

    return Attention(), (floats(2, 5, 16),)


@ordinary("attention")
def queries_in_columns() -> Made:
    """Channels before positions, as convolutions have it."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Conv1d(8, 24, 1), nn.Conv1d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).reshape(2, 3, 2, 4, 6).unbind(1)
            weights = torch.einsum("bhci,bhcj->bhij", q * 4**-0.25, k * 4**-0.25).softmax(-1)
            return x + self.out(torch.einsum("bhij,bhcj->bhci", weights, v).reshape(2, 8, 6))

    return Attention(), (floats(2, 8, 6),)


@ordinary("attention")
def a_step_of_generation() -> Made:
    class Attention(Projected):
        def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.transpose(1, 2) for part in self.parts(torch.cat((past, x), 1)))
            scores = torch.einsum("bhid,bhjd->bhij", q[:, :, -1:], k) * self.scale
            return self.to_out(torch.einsum("bhij,bhjd->bihd", scores.softmax(-1), v).flatten(2))

    return Attention(), (floats(2, 1, 16), floats(2, 4, 16))
