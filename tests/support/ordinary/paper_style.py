"""After the paper and its annotated editions: functions of query, key, value and mask, post-norm layers, encoders."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("paper", ENTRIES)


def clones(module: nn.Module, count: int) -> nn.ModuleList:
    return nn.ModuleList([copy.deepcopy(module) for _ in range(count)])


def attention(query: Any, key: Any, value: Any, mask: Any = None, dropout: Any = None) -> Any:
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = scores.softmax(dim=-1)
    if dropout is not None:
        p_attn = dropout(p_attn)
    return torch.matmul(p_attn, value), p_attn


class MultiHeadedAttention(nn.Module):
    def __init__(self, h: int = 4, d_model: int = 16) -> None:
        super().__init__()
        self.d_k, self.h = d_model // h, h
        self.linears = clones(nn.Linear(d_model, d_model), 4)
        self.attn: Any = None
        self.dropout = nn.Dropout(p=0.1)

    def forward(self, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
        if mask is not None:
            mask = mask.unsqueeze(1)
        count = query.size(0)
        query, key, value = [
            lin(x).view(count, -1, self.h, self.d_k).transpose(1, 2)
            for lin, x in zip(self.linears, (query, key, value), strict=False)
        ]
        x, self.attn = attention(query, key, value, mask=mask, dropout=self.dropout)
        x = x.transpose(1, 2).contiguous().view(count, -1, self.h * self.d_k)
        return self.linears[-1](x)


class LayerNorm(nn.Module):
    """As the annotated edition has it: the deviation plus epsilon."""

    def __init__(self, features: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.a_2, self.b_2, self.eps = nn.Parameter(torch.randn(features)), nn.Parameter(torch.randn(features)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)
        std = x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (std + self.eps) + self.b_2


class SublayerConnection(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(size), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, sublayer: Any) -> torch.Tensor:
        return x + self.dropout(sublayer(self.norm(x)))


class PositionwiseFeedForward(nn.Module):
    def __init__(self, d_model: int = 16, d_ff: int = 32) -> None:
        super().__init__()
        self.w_1, self.w_2, self.dropout = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w_2(self.dropout(self.w_1(x).relu()))


class Embeddings(nn.Module):
    def __init__(self, d_model: int = 16, vocab: int = 20) -> None:
        super().__init__()
        self.lut, self.d_model = nn.Embedding(vocab, d_model), d_model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lut(x) * math.sqrt(self.d_model)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int = 16, max_len: int = 50) -> None:
        super().__init__()
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * -(math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pe[:, : x.size(1)].requires_grad_(False)


class EncoderLayer(nn.Module):
    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.self_attn, self.feed_forward = MultiHeadedAttention(), PositionwiseFeedForward()
        self.sublayer = clones(SublayerConnection(size), 2)

    def forward(self, x: torch.Tensor, mask: Any) -> torch.Tensor:
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, mask))
        return self.sublayer[1](x, self.feed_forward)


class DecoderLayer(nn.Module):
    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.self_attn, self.src_attn, self.feed_forward = (
            MultiHeadedAttention(),
            MultiHeadedAttention(),
            PositionwiseFeedForward(),
        )
        self.sublayer = clones(SublayerConnection(size), 3)

    def forward(self, x: Any, memory: Any, src_mask: Any, tgt_mask: Any) -> torch.Tensor:
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, tgt_mask))
        x = self.sublayer[1](x, lambda x: self.src_attn(x, memory, memory, src_mask))
        return self.sublayer[2](x, self.feed_forward)


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.src_embed = nn.Sequential(Embeddings(), PositionalEncoding())
        self.tgt_embed = nn.Sequential(Embeddings(), PositionalEncoding())
        self.encoder, self.decoder = clones(EncoderLayer(), 2), clones(DecoderLayer(), 2)
        self.norm, self.proj = nn.LayerNorm(16), nn.Linear(16, 20)

    def forward(self, src: Any, tgt: Any, src_mask: Any, tgt_mask: Any) -> torch.Tensor:
        memory = self.src_embed(src)
        for layer in self.encoder:
            memory = layer(memory, src_mask)
        x = self.tgt_embed(tgt)
        for layer in self.decoder:
            x = layer(x, memory, src_mask, tgt_mask)
        return F.log_softmax(self.proj(self.norm(x)), dim=-1)


@ordinary("attention", "feed-forward", "embedding")
def encoder_decoder() -> Made:
    seen = torch.ones(1, 6, 6).tril()
    return EncoderDecoder(), (tokens(2, 7), tokens(2, 6), torch.ones(2, 1, 7), seen)


@ordinary("attention")
def multi_headed_attention() -> Made:
    return MultiHeadedAttention(), (floats(2, 5, 16), floats(2, 7, 16), floats(2, 7, 16))


@ordinary("attention")
def masked_attention() -> Made:
    return MultiHeadedAttention(), (floats(2, 5, 16),) * 3 + (torch.ones(1, 5, 5).tril(),)


@ordinary("attention", "feed-forward")
def encoder_layer() -> Made:
    return EncoderLayer(), (floats(2, 5, 16), torch.ones(2, 1, 5))


@ordinary("attention", "feed-forward")
def decoder_layer() -> Made:
    return DecoderLayer(), (floats(2, 5, 16), floats(2, 7, 16), torch.ones(2, 1, 7), torch.ones(1, 5, 5).tril())


@ordinary("feed-forward")
def position_wise_feed_forward() -> Made:
    return PositionwiseFeedForward(), (floats(2, 5, 16),)


@ordinary("embedding")
def embeddings_times_root() -> Made:
    return Embeddings(), (tokens(2, 5),)


@ordinary("position")
def sines_and_cosines() -> Made:
    class Positions(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            count, width = x.shape[-2:]
            at = torch.arange(count).unsqueeze(1)
            rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
            table = torch.zeros(count, width)
            table[:, 0::2] = torch.sin(at * rates)
            table[:, 1::2] = torch.cos(at * rates)
            return x + table

    return Positions(), (floats(2, 5, 16),)


@ordinary("attention")
def attention_on_its_own() -> Made:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.temperature, self.dropout, self.softmax = 4**0.5, nn.Dropout(0.1), nn.Softmax(dim=2)

        def forward(self, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
            attn = torch.bmm(q, k.transpose(1, 2))
            attn = attn / self.temperature
            if mask is not None:
                attn = attn.masked_fill(mask, -math.inf)
            attn = self.softmax(attn)
            attn = self.dropout(attn)
            return torch.bmm(attn, v), attn

    return Scaled(), (floats(8, 5, 4), floats(8, 7, 4), floats(8, 7, 4))


@ordinary("attention")
def heads_in_the_batch() -> Made:
    class MultiHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w_qs, self.w_ks, self.w_vs, self.fc = (nn.Linear(16, 16) for _ in range(4))

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            q, k, v = (
                part(x).view(2, 5, 4, 4).permute(2, 0, 1, 3).contiguous().view(-1, 5, 4)
                for part in (self.w_qs, self.w_ks, self.w_vs)
            )
            attn = torch.bmm(q, k.transpose(1, 2)) / 2
            attn = attn.masked_fill(mask.repeat(4, 1, 1), -math.inf)
            out = torch.bmm(torch.softmax(attn, dim=2), v)
            return self.fc(out.view(4, 2, 5, 4).permute(1, 2, 0, 3).contiguous().view(2, 5, -1))

    return MultiHead(), (floats(2, 5, 16), torch.ones(2, 5, 5).triu(1).bool())


@ordinary("attention")
def chained_lines() -> Made:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((self.q(x) @ self.k(x).transpose(1, 2)) / 8**0.5).softmax(2) @ self.v(x)

    return Attention(), (floats(2, 5, 8),)


@ordinary("attention")
def unbatched() -> Made:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W_query, self.W_key, self.W_value = (nn.Parameter(torch.rand(6, 4)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            keys, queries, values = x @ self.W_key, x @ self.W_query, x @ self.W_value
            attn_scores = queries @ keys.T
            attn_weights = torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1)
            return attn_weights @ values

    return Attention(), (floats(6, 6),)
