"""Small GPTs: a joint projection, a buffer as mask, blocks with the norm in front."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("gpt", ENTRIES)


class CausalSelfAttention(nn.Module):
    def __init__(self, width: int = 16, heads: int = 4, flash: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.attn_dropout, self.resid_dropout = nn.Dropout(0.1), nn.Dropout(0.1)
        self.n_head, self.n_embd, self.flash = heads, width, flash
        self.register_buffer("bias", torch.tril(torch.ones(12, 12)).view(1, 1, 12, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            att = F.softmax(att, dim=-1)
            att = self.attn_dropout(att)
            y = att @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class LayerNorm(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.bias = nn.Parameter(torch.randn(width)) if bias else None

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(given, self.weight.shape, self.weight, self.bias, 1e-5)


class MLP(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.c_fc, self.gelu, self.c_proj = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.c_fc(x)
        x = self.gelu(x)
        x = self.c_proj(x)
        return self.dropout(x)


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = LayerNorm(16, True), attention, LayerNorm(16, False), MLP()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, attention: Any = CausalSelfAttention) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(20, 16),
                "wpe": nn.Embedding(12, 16),
                "h": nn.ModuleList(Block(attention()) for _ in range(2)),
                "ln_f": LayerNorm(16, True),
            }
        )
        self.lm_head = nn.Linear(16, 20, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx: torch.Tensor, targets: torch.Tensor | None = None) -> Any:
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.transformer.wte(idx) + self.transformer.wpe(pos)
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


@ordinary("attention", "norm", "feed-forward")
def gpt() -> Made:
    return GPT(), (tokens(2, 7), tokens(2, 7))


@ordinary("attention", "norm", "feed-forward")
def gpt_that_generates() -> Made:
    return GPT(lambda: CausalSelfAttention(flash=True)), (tokens(2, 7),)


@ordinary("attention")
def causal_self_attention() -> Made:
    return CausalSelfAttention(), (floats(2, 7, 16),)


@ordinary("attention")
def causal_self_attention_in_one_call() -> Made:
    return CausalSelfAttention(flash=True, bias=False), (floats(2, 7, 16),)


@ordinary("attention")
def scores_in_place() -> Made:
    class Attention(CausalSelfAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.view(2, 7, 4, 4).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
            scores = torch.matmul(q, k.transpose(2, 3))
            scores.div_(math.sqrt(4))
            scores.masked_fill_(self.bias[:, :, :7, :7] == 0, -1e9)
            return self.c_proj(torch.matmul(scores.softmax(-1), v).transpose(1, 2).reshape(2, 7, 16))

    return Attention(), (floats(2, 7, 16),)


@ordinary("attention")
def queries_scaled_first() -> Made:
    class Attention(CausalSelfAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.view(2, 7, 4, 4).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
            q = q * 4**-0.5
            mask = torch.full((7, 7), float("-inf")).triu(1)
            scores = q @ k.mT + mask
            return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Attention(), (floats(2, 7, 16),)


@ordinary("attention")
def queries_scaled_in_place() -> Made:
    class Attention(CausalSelfAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.view(2, 7, 4, 4).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
            q /= 4**0.5
            scores = q @ k.transpose(-1, -2)
            scores[:, :, torch.ones(7, 7).triu(1).bool()] = float("-inf")
            return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Attention(), (floats(2, 7, 16),)


@ordinary("attention")
def mask_set_by_index() -> Made:
    class Attention(CausalSelfAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = (part.view(2, 7, 4, 4).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
            scores = q @ k.transpose(-1, -2) / 2
            scores[(self.bias[:, :, :7, :7] == 0).expand_as(scores)] = float("-inf")
            return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Attention(), (floats(2, 7, 16),)


@ordinary("attention")
def class_per_head() -> Made:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.key, self.query, self.value = (nn.Linear(16, 4, bias=False) for _ in range(3))
            self.register_buffer("tril", torch.tril(torch.ones(12, 12)))
            self.dropout = nn.Dropout(0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            T = x.shape[1]
            k, q = self.key(x), self.query(x)
            wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
            wei = wei.masked_fill(self.tril[:T, :T] == 0, float("-inf"))
            wei = self.dropout(F.softmax(wei, dim=-1))
            return wei @ self.value(x)

    class MultiHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.proj = nn.ModuleList(Head() for _ in range(4)), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.proj(torch.cat([h(x) for h in self.heads], dim=-1))

    return MultiHead(), (floats(2, 7, 16),)


@ordinary("attention")
def a_loop_over_heads() -> Made:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            heads = []
            for q, k, v in zip(*(part.split(4, -1) for part in self.qkv(x).chunk(3, -1)), strict=True):
                heads.append(F.softmax(q @ k.mT / 2.0, -1) @ v)
            return self.out(torch.cat(heads, -1))

    return Attention(), (floats(2, 7, 16),)


@ordinary("attention")
def caches_keys() -> Made:
    class Attention(CausalSelfAttention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outs, past = [], None
            for at in range(3):
                q, k, v = (p.view(2, 1, 4, 4).transpose(1, 2) for p in self.c_attn(x[:, at : at + 1]).chunk(3, -1))
                past = (k, v) if past is None else (torch.cat((past[0], k), 2), torch.cat((past[1], v), 2))
                outs.append(((q @ past[0].transpose(2, 3) / 2).softmax(-1) @ past[1]).transpose(1, 2).flatten(2))
            return self.c_proj(torch.cat(outs, 1))

    return Attention(), (floats(2, 3, 16),)
