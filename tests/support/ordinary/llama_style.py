"""Small Llamas of one's own: rotary positions in many spellings, RMSNorm, gated feed-forward parts, shared heads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("llama", ENTRIES)


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.rand(dim) + 0.5)

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._norm(x.float()).type_as(x) * self.weight


def precompute_freqs_cis(dim: int, end: int, theta: float = 10000.0) -> torch.Tensor:
    freqs = 1.0 / (theta ** (torch.arange(0, dim, 2)[: (dim // 2)].float() / dim))
    freqs = torch.outer(torch.arange(end), freqs).float()
    return torch.polar(torch.ones_like(freqs), freqs)


def apply_rotary_emb(xq: Any, xk: Any, freqs_cis: torch.Tensor) -> Any:
    xq_ = torch.view_as_complex(xq.float().reshape(*xq.shape[:-1], -1, 2))
    xk_ = torch.view_as_complex(xk.float().reshape(*xk.shape[:-1], -1, 2))
    freqs_cis = freqs_cis.view(1, xq_.shape[1], 1, xq_.shape[-1])
    xq_out = torch.view_as_real(xq_ * freqs_cis).flatten(3)
    xk_out = torch.view_as_real(xk_ * freqs_cis).flatten(3)
    return xq_out.type_as(xq), xk_out.type_as(xk)


def repeat_kv(x: torch.Tensor, n_rep: int) -> torch.Tensor:
    bs, slen, n_kv_heads, head_dim = x.shape
    return (
        x[:, :, :, None, :]
        .expand(bs, slen, n_kv_heads, n_rep, head_dim)
        .reshape(bs, slen, n_kv_heads * n_rep, head_dim)
    )


class Attention(nn.Module):
    def __init__(self, dim: int = 16, heads: int = 4, kv: int = 2) -> None:
        super().__init__()
        self.heads, self.kv, self.head_dim = heads, kv, dim // heads
        self.wq, self.wo = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.wk, self.wv = (nn.Linear(dim, kv * self.head_dim, bias=False) for _ in range(2))

    def forward(self, x: torch.Tensor, freqs_cis: torch.Tensor, mask: Any) -> torch.Tensor:
        bsz, seqlen, _ = x.shape
        xq = self.wq(x).view(bsz, seqlen, self.heads, self.head_dim)
        xk = self.wk(x).view(bsz, seqlen, self.kv, self.head_dim)
        xv = self.wv(x).view(bsz, seqlen, self.kv, self.head_dim)
        xq, xk = apply_rotary_emb(xq, xk, freqs_cis)
        keys, values = (repeat_kv(part, self.heads // self.kv).transpose(1, 2) for part in (xk, xv))
        xq = xq.transpose(1, 2)
        scores = torch.matmul(xq, keys.transpose(2, 3)) / (self.head_dim**0.5)
        if mask is not None:
            scores = scores + mask
        scores = F.softmax(scores.float(), dim=-1).type_as(xq)
        output = torch.matmul(scores, values)
        return self.wo(output.transpose(1, 2).contiguous().view(bsz, seqlen, -1))


class FeedForward(nn.Module):
    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = (
            nn.Linear(dim, 32, bias=False),
            nn.Linear(32, dim, bias=False),
            nn.Linear(dim, 32, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class TransformerBlock(nn.Module):
    def __init__(self, norm: Any = RMSNorm) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(), FeedForward()
        self.attention_norm, self.ffn_norm = norm(16), norm(16)

    def forward(self, x: torch.Tensor, freqs_cis: torch.Tensor, mask: Any) -> torch.Tensor:
        h = x + self.attention(self.attention_norm(x), freqs_cis, mask)
        return h + self.feed_forward(self.ffn_norm(h))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings, self.norm, self.output = nn.Embedding(20, 16), RMSNorm(16), nn.Linear(16, 20, bias=False)
        self.layers = nn.ModuleList(TransformerBlock() for _ in range(2))
        self.freqs_cis = precompute_freqs_cis(4, 32)

    def forward(self, tokens: torch.Tensor, start_pos: int = 0) -> torch.Tensor:
        seqlen = tokens.shape[1]
        h = self.tok_embeddings(tokens)
        mask = torch.full((seqlen, seqlen), float("-inf")).triu(1)
        for layer in self.layers:
            h = layer(h, self.freqs_cis[start_pos : start_pos + seqlen], mask)
        return self.output(self.norm(h)).float()


@ordinary("attention", "rms-norm", "gated-feed-forward", "rotary", "pre-norm-residual")
def llama() -> Made:
    return Transformer(), (tokens(2, 6),)


@ordinary("rms-norm")
def rms_norm() -> Made:
    return RMSNorm(8), (floats(2, 5, 8),)


@ordinary("gated-feed-forward")
def gated() -> Made:
    return FeedForward(), (floats(2, 5, 16),)


@ordinary("pre-norm-residual", "attention")
def block_with_a_norm_of_torch() -> Made:
    return TransformerBlock(nn.RMSNorm), (floats(2, 5, 16), precompute_freqs_cis(4, 5), None)


class Rotated(nn.Module):
    def __init__(self, rotate: Any) -> None:
        super().__init__()
        self.qkv, self.rotate, self.scale = nn.Linear(16, 48), rotate, 4**-0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        q = q * self.scale
        q, k = self.rotate(q), self.rotate(k)
        return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


def angles(count: int, twice: bool = False, pairs: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    theta = torch.arange(count)[:, None] * 10000.0 ** (-torch.arange(2) / 2)
    theta = (theta.repeat_interleave(2, -1) if pairs else torch.cat((theta, theta), -1)) if twice else theta
    return theta.cos(), theta.sin()


@ordinary("rotary", "attention")
def rotary_by_halves() -> Made:
    def rotate_half(x: torch.Tensor) -> torch.Tensor:
        x1 = x[..., : x.shape[-1] // 2]
        x2 = x[..., x.shape[-1] // 2 :]
        return torch.cat((-x2, x1), dim=-1)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        cos, sin = angles(x.shape[-2], True)
        return (x * cos) + (rotate_half(x) * sin)

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("rotary", "attention")
def rotary_by_chunks() -> Made:
    def rotate(x: torch.Tensor) -> torch.Tensor:
        cos, sin = angles(x.shape[-2], True)
        x1, x2 = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-x2, x1], -1) * sin

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("rotary", "attention")
def rotary_by_neighbours() -> Made:
    def rotate(x: torch.Tensor) -> torch.Tensor:
        cos, sin = angles(x.shape[-2], True, True)
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).reshape(x.shape)
        return x * cos + turned * sin

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("rotary", "attention")
def rotary_by_unbound_pairs() -> Made:
    def rotate_every_two(x: torch.Tensor) -> torch.Tensor:
        x1, x2 = x.unflatten(-1, (-1, 2)).unbind(dim=-1)
        return torch.stack((-x2, x1), dim=-1).flatten(-2)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        cos, sin = angles(x.shape[-2], True, True)
        return x * cos + rotate_every_two(x) * sin

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("rotary", "attention")
def rotary_in_two_parts() -> Made:
    def rotate(x: torch.Tensor) -> torch.Tensor:
        cos, sin = angles(x.shape[-2])
        x1, x2 = x[..., :2], x[..., 2:]
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("rotary", "attention")
def rotary_in_stacked_parts() -> Made:
    """gpt-fast."""

    def rotate(x: torch.Tensor) -> torch.Tensor:
        cache = torch.stack(angles(x.shape[-2]), -1)
        xshaped = x.float().reshape(*x.shape[:-1], -1, 2)
        x_out2 = torch.stack(
            [
                xshaped[..., 0] * cache[..., 0] - xshaped[..., 1] * cache[..., 1],
                xshaped[..., 1] * cache[..., 0] + xshaped[..., 0] * cache[..., 1],
            ],
            -1,
        )
        return x_out2.flatten(3).type_as(x)

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("attention")
def a_part_of_each_head_is_rotated() -> Made:
    def rotate(x: torch.Tensor) -> torch.Tensor:
        turned, rest = x[..., :2], x[..., 2:]
        cos, sin = (table[:, :1].expand(-1, 2) for table in angles(x.shape[-2]))
        turned = turned * cos + torch.cat((-turned[..., 1:], turned[..., :1]), -1) * sin
        return torch.cat((turned, rest), -1)

    return Rotated(rotate), (floats(2, 6, 16),)


@ordinary("attention")
def cached_generation() -> Made:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)
            self.register_buffer("cache_k", torch.zeros(2, 8, 4, 4))
            self.register_buffer("cache_v", torch.zeros(2, 8, 4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outs = []
            for at in range(x.shape[1]):
                q, k, v = (part.view(2, 1, 4, 4) for part in self.qkv(x[:, at : at + 1]).chunk(3, -1))
                self.cache_k[:, at : at + 1] = k
                self.cache_v[:, at : at + 1] = v
                keys, values = self.cache_k[:, : at + 1].transpose(1, 2), self.cache_v[:, : at + 1].transpose(1, 2)
                outs.append(F.scaled_dot_product_attention(q.transpose(1, 2), keys, values).transpose(1, 2).flatten(2))
            return torch.cat(outs, 1)

    return Cached(), (floats(2, 4, 16),)


@ordinary("attention")
def grouped_heads_in_one_call() -> Made:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.kv = nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.q(x).unflatten(-1, (4, 4)).transpose(1, 2)
            k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.kv(x).chunk(2, -1))
            mask = torch.ones(6, 6, dtype=torch.bool).tril()
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(1, 2).flatten(2)

    return Grouped(), (floats(2, 6, 16),)


@ordinary("attention")
def more_keys_than_queries_and_causal() -> Made:
    """torch counts later keys from the first one."""

    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.kv = nn.Linear(8, 8), nn.Linear(8, 16)

        def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
            k, v = self.kv(memory).chunk(2, -1)
            return F.scaled_dot_product_attention(self.q(x), k, v, is_causal=True)

    return Causal(), (floats(2, 4, 8), floats(2, 7, 8))


@ordinary("attention")
def queries_and_keys_normed() -> Made:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.q_norm, self.k_norm = nn.Linear(16, 48), RMSNorm(4), RMSNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
            q, k = self.q_norm(q), self.k_norm(k)
            return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)

    return Normed(), (floats(2, 6, 16),)


@ordinary()
def scores_with_a_soft_cap() -> Made:
    class Capped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(16, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
            scores = q @ k.transpose(2, 3) * 0.5
            scores = torch.tanh(scores / 50.0) * 50.0
            scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), torch.finfo(scores.dtype).min)
            return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    return Capped(), (floats(2, 6, 16),)


@ordinary("rms-norm")
def norm_with_one_added() -> Made:
    class Gemma(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            normed = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
            return (normed * (1.0 + self.weight.float())).type_as(x)

    return Gemma(), (floats(2, 5, 8),)


@ordinary("feed-forward")
def squared_relu() -> Made:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c_fc, self.c_proj = nn.Linear(8, 32, bias=False), nn.Linear(32, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c_proj(F.relu(self.c_fc(x)).square())

    return Squared(), (floats(2, 5, 8),)


@ordinary("gated-feed-forward")
def joint_gate() -> Made:
    class Joint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(8, 32), nn.Linear(16, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, gate = self.up(x).chunk(2, dim=-1)
            return self.down(x * F.gelu(gate))

    return Joint(), (floats(2, 5, 8),)
