"""As papers' own code has it: biases for positions, cross attention of images, and what only resembles all this."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("research", ENTRIES)


class Heads(nn.Module):
    """Four heads of four; `bias` gives what is added to the scores."""

    def __init__(self, bias: Any = None, scale: float = 0.5) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16, bias=False) for _ in range(4))
        self.bias, self.scale = bias, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).view(*x.shape[:2], 4, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
        scores = torch.matmul(q, k.transpose(3, 2)) * self.scale
        if self.bias is not None:
            scores += self.bias(x.shape[1])
        weights = F.softmax(scores.float(), dim=-1).type_as(scores)
        weights = F.dropout(weights, p=0.1, training=self.training)
        return self.o(torch.matmul(weights, v).transpose(1, 2).contiguous().view(*x.shape))


@ordinary("attention", "multi-head")
def linear_biases() -> Made:
    def alibi(count: int) -> torch.Tensor:
        slopes = 2.0 ** -torch.arange(1, 5)
        apart = torch.arange(count)[None] - torch.arange(count)[:, None]
        return slopes[:, None, None] * apart + torch.full((count, count), -math.inf).triu(1)

    return Heads(alibi), (floats(2, 6, 16),)


@ordinary("attention", "multi-head")
def buckets_of_distances() -> Made:
    class Buckets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relative_attention_bias = nn.Embedding(11, 4)

        def forward(self, count: int) -> torch.Tensor:
            apart = torch.arange(count)[None] - torch.arange(count)[:, None] + 5
            return self.relative_attention_bias(apart).permute(2, 0, 1).unsqueeze(0)

    return Heads(Buckets()), (floats(2, 6, 16),)


@ordinary()
def no_scale_and_buckets() -> Made:
    """T5: scores are not scaled on purpose."""
    return Heads(lambda count: torch.zeros(count, count), 1.0), (floats(2, 6, 16),)


@ordinary("attention")
def keys_of_relative_positions() -> Made:
    """Shaw et al.: a second product, with a table of distances, is added."""

    class Relative(Heads):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(11, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part(x).view(2, 6, 4, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
            apart = torch.arange(6)[None] - torch.arange(6)[:, None] + 5
            second = torch.einsum("bhqd,qkd->bhqk", q, self.table[apart])
            scores = (q @ k.transpose(-1, -2) + second) / math.sqrt(4)
            return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Relative(), (floats(2, 6, 16),)


@ordinary("attention")
def bloom() -> Made:
    class Bloom(Heads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part(x).view(2, 6, 4, 4).transpose(1, 2).reshape(8, 6, 4) for part in (self.q, self.k, self.v))
            alibi = (torch.arange(6) * torch.ones(8, 1)).view(8, 1, 6)
            scores = alibi.baddbmm(q, k.transpose(-1, -2), beta=1.0, alpha=0.5)
            scores = scores.view(2, 4, 6, 6)
            scores = torch.masked_fill(scores, torch.ones(6, 6).triu(1).bool(), torch.finfo(scores.dtype).min)
            weights = F.softmax(scores, dim=-1, dtype=torch.float32).view(8, 6, 6)
            return self.o(torch.bmm(weights, v).view(2, 4, 6, 4).transpose(1, 2).reshape(2, 6, 16))

    return Bloom(), (floats(2, 6, 16),)


@ordinary("attention", "gated-feed-forward", "pre-norm-residual")
def cross_attention_of_an_image() -> Made:
    class CrossAttention(nn.Module):
        def __init__(self, context: int) -> None:
            super().__init__()
            self.to_q, self.to_k, self.to_v = (nn.Linear(size, 16, bias=False) for size in (16, context, context))
            self.to_out = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.0))

        def forward(self, x: torch.Tensor, context: Any = None) -> torch.Tensor:
            context = x if context is None else context
            q, k, v = (part(y) for part, y in ((self.to_q, x), (self.to_k, context), (self.to_v, context)))
            q, k, v = (
                part.reshape(part.shape[0], part.shape[1], 4, 4).permute(0, 2, 1, 3).reshape(-1, part.shape[1], 4)
                for part in (q, k, v)
            )
            sim = torch.einsum("b i d, b j d -> b i j", q, k) * 4**-0.5
            attn = sim.softmax(dim=-1)
            out = torch.einsum("b i j, b j d -> b i d", attn, v)
            out = out.reshape(x.shape[0], 4, -1, 4).permute(0, 2, 1, 3).reshape(x.shape[0], -1, 16)
            return self.to_out(out)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(16) for _ in range(3))
            self.attn1, self.attn2 = CrossAttention(16), CrossAttention(8)
            self.proj, self.out = nn.Linear(16, 64), nn.Linear(32, 16)

        def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
            x = self.attn1(self.norm1(x)) + x
            x = self.attn2(self.norm2(x), context) + x
            hidden, gate = self.proj(self.norm3(x)).chunk(2, dim=-1)
            return self.out(hidden * F.gelu(gate)) + x

    return Block(), (floats(2, 9, 16), floats(2, 3, 8))


@ordinary("attention")
def softmax_by_hand_that_takes_the_largest_off() -> Made:
    class Stable(Heads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part(x) for part in (self.q, self.k, self.v))
            scores = q @ k.mT / 16**0.5
            scores = scores - scores.amax(dim=-1, keepdim=True)
            return torch.softmax(scores, dim=-1) @ v

    return Stable(), (floats(2, 6, 16),)


@ordinary("attention")
def in_half_precision() -> Made:
    return Heads().bfloat16(), (floats(2, 6, 16).bfloat16(),)


@ordinary()
def linear_attention() -> Made:
    """Two softmaxes in front of the products, none between them."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            context = torch.einsum("bnd,bne->bde", k.softmax(dim=1), v)
            return torch.einsum("bnd,bde->bne", q.softmax(dim=-1), context)

    return Linear(), (floats(2, 6, 16),)


@ordinary()
def slots() -> Made:
    """Slots compete for positions: the softmax runs over the slots, and the weights are normalized again."""

    class Slots(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_q, self.to_k, self.to_v = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
            dots = torch.einsum("bid,bjd->bij", self.to_q(slots), self.to_k(x)) * 8**-0.5
            attn = dots.softmax(dim=1) + 1e-8
            return torch.einsum("bjd,bij->bid", self.to_v(x), attn / attn.sum(dim=-1, keepdim=True))

    return Slots(), (floats(2, 6, 8), floats(2, 3, 8))


@ordinary()
def a_mixture_of_experts() -> Made:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(8, 3)
            self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = self.gate(x).softmax(-1)
            each = torch.stack([expert(x) for expert in self.experts], -2)
            return (weights.unsqueeze(-2) @ each).squeeze(-2)

    return Mixture(), (floats(2, 5, 8),)


@ordinary()
def normalized_over_the_batch() -> Made:
    class Standard(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - x.mean(0, keepdim=True)) / torch.sqrt(x.var(0, keepdim=True, unbiased=False) + 1e-5)

    return Standard(), (floats(4, 5, 8),)


@ordinary("layer-norm")
def normalized_over_channels() -> Made:
    class LayerNorm2d(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            u = x.mean(1, keepdim=True)
            s = (x - u).pow(2).mean(1, keepdim=True)
            x = (x - u) / torch.sqrt(s + 1e-6)
            return self.weight[:, None, None] * x + self.bias[:, None, None]

    return LayerNorm2d(), (floats(2, 8, 3, 3),)


@ordinary()
def rotation_without_positions() -> Made:
    """Complex weights of a layer: numbers are turned, but not by positions."""

    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real, self.imaginary = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a, b = x.chunk(2, -1)
            return torch.cat((self.real(a) - self.imaginary(b), self.real(b) + self.imaginary(a)), -1)

    return Complex(), (floats(2, 5, 16),)


@ordinary("tied-head")
def a_head_that_is_the_table() -> Made:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.mix = nn.Embedding(20, 8), nn.Linear(8, 8)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return F.linear(torch.tanh(self.mix(self.emb(ids))), self.emb.weight)

    return Tied(), (tokens(2, 5),)


@ordinary("cross-entropy")
def a_loss() -> Made:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 20)

        def forward(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            logits = self.head(x)
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)

    return Loss(), (floats(2, 5, 8), tokens(2, 5))


@ordinary("attention")
def heads_in_turns() -> Made:
    """The features of a head lie in turns with those of the others."""

    class Turns(Heads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part(x).view(*x.shape[:2], 2, 8).permute(0, 3, 1, 2) for part in (self.q, self.k, self.v))
            z = (q @ k.mT * 2**-0.5).softmax(-1) @ v
            return self.o(z.permute(0, 2, 3, 1).flatten(2))

    return Turns(), (floats(2, 6, 16),)
