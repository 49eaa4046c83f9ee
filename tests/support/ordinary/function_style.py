"""Functions, and weights in plain dicts and lists: little or nothing is a module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("functions", ENTRIES)


class Wrapped(nn.Module):
    """A module around a function, with its weights in a dict that torch does not know."""

    def __init__(self, run: Any, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.run = run
        self.w = {name: 0.4 * torch.randn(shape) for name, shape in shapes.items()}

    def forward(self, *given: torch.Tensor) -> Any:
        return self.run(self.w, *given)


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x: torch.Tensor, g: torch.Tensor, b: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    mean = torch.mean(x, dim=-1, keepdim=True)
    variance = torch.var(x, dim=-1, keepdim=True, unbiased=False)
    return g * (x - mean) / torch.sqrt(variance + eps) + b


def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return x @ w + b


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.T / np.sqrt(q.shape[-1]) + mask, -1) @ v


def mha(x: torch.Tensor, w: dict[str, torch.Tensor], heads: int) -> torch.Tensor:
    x = linear(x, w["c_attn"], w["c_attn_b"])
    qkv = x.split(x.shape[-1] // 3, -1)
    each = [part.split(part.shape[-1] // heads, -1) for part in qkv]
    mask = (1 - torch.tri(x.shape[0]) if hasattr(torch, "tri") else 1 - torch.ones(len(x), len(x)).tril()) * -1e10
    outs = [attention(q, k, v, mask) for q, k, v in zip(*each, strict=True)]
    return linear(torch.hstack(outs), w["c_proj"], w["c_proj_b"])


def ffn(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    return linear(gelu(linear(x, w["c_fc"], w["c_fc_b"])), w["down"], w["down_b"])


SHAPES = {
    "c_attn": (16, 48), "c_attn_b": (48,), "c_proj": (16, 16), "c_proj_b": (16,), "c_fc": (16, 64), "c_fc_b": (64,),
    "down": (64, 16), "down_b": (16,), "g1": (16,), "b1": (16,), "g2": (16,), "b2": (16,),
}  # fmt: skip


@ordinary("attention", "norm", "feed-forward")
def a_block_of_functions() -> Made:
    def block(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        x = x + mha(layer_norm(x, w["g1"], w["b1"]), w, 4)
        return x + ffn(layer_norm(x, w["g2"], w["b2"]), w)

    return Wrapped(block, **SHAPES), (floats(6, 16),)


@ordinary("attention")
def attention_of_functions() -> Made:
    return Wrapped(lambda w, x: mha(x, w, 2), **SHAPES), (floats(6, 16),)


@ordinary("norm")
def norm_of_functions() -> Made:
    return Wrapped(lambda w, x: layer_norm(x, w["g1"], w["b1"]), **SHAPES), (floats(6, 16),)


@ordinary("feed-forward")
def feed_forward_of_functions() -> Made:
    return Wrapped(lambda w, x: ffn(x, w), **SHAPES), (floats(6, 16),)


@ordinary("attention", "norm")
def functional_calls() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        y = F.layer_norm(x, (16,), w["g1"], w["b1"])
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in F.linear(y, w["c_attn"].T).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + F.linear(y.transpose(1, 2).flatten(2), w["c_proj"].T, w["c_proj_b"])

    return Wrapped(run, **SHAPES), (floats(2, 5, 16),)


@ordinary("norm")
def rms_norm_of_a_function() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (16,), w["g1"], eps=1e-6)

    return Wrapped(run, **SHAPES), (floats(2, 5, 16),)


@ordinary("feed-forward")
def gated_by_functions() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.silu(F.linear(x, w["gate"])) * F.linear(x, w["up"]), w["down"])

    return Wrapped(run, gate=(32, 16), up=(32, 16), down=(16, 32)), (floats(2, 5, 16),)


@ordinary("attention")
def parameters_in_a_list() -> Made:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList(nn.Parameter(torch.randn(8, 8)) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v, o = self.weights
            scores = torch.matmul(x @ q, (x @ k).mT)
            scores = torch.div(scores, torch.sqrt(torch.tensor(8.0)))
            return torch.matmul(torch.softmax(scores, -1), x @ v) @ o

    return Lists(), (floats(2, 5, 8),)


@ordinary()
def soft_retrieval() -> Made:
    """A choice among experts and among rows of a table: a softmax between two products that is no attention."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.experts = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(3, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(x @ self.gate, -1) @ self.experts

    return Gated(), (floats(2, 5, 8),)


@ordinary()
def soft_embeddings() -> Made:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.embed(x) @ self.embed.weight.T
            return logits.softmax(-1) @ self.embed.weight

    return Soft(), (tokens(2, 5),)


@ordinary()
def scores_that_are_filtered() -> Made:
    """Only the three largest scores of each query count: something else stands between product and softmax."""

    class TopK(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            scores = q @ k.mT / 8**0.5
            least = scores.topk(3, dim=-1).values[..., -1:]
            scores = scores * (scores >= least) - 1e9 * (scores < least)
            return scores.softmax(-1) @ v

    return TopK(), (floats(2, 5, 8),)


@ordinary("rms-norm", "feed-forward")
def products_in_the_place_of_powers() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        normed = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w["g1"]
        hidden = linear(normed, w["c_fc"], w["c_fc_b"])
        hidden = 0.5 * hidden * (1.0 + torch.tanh(0.7978845608 * hidden * (1.0 + 0.044715 * hidden * hidden)))
        return linear(hidden, w["down"], w["down_b"])

    return Wrapped(run, **SHAPES), (floats(2, 5, 16),)


@ordinary()
def scores_with_twice_what_is_added() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        scores = torch.add(x @ x.mT / 4, x @ x.mT, alpha=2)
        return torch.div(scores, 0.5, rounding_mode="floor").softmax(-1) @ x + scores.softmax(-1) @ x

    return Wrapped(run, **SHAPES), (floats(2, 5, 16),)


@ordinary("multi-head")
def queries_that_are_scaled_after_their_map() -> Made:
    def run(w: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = F.linear(x, w["c_attn"].T).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in (0.5 * parts[0], *parts[1:]))
        scores = q @ k.mT
        gate = 0.5 * x * (1 + y)  # like a GELU's, of something that nothing here has made
        return F.linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), w["c_proj"].T, w["c_proj_b"]) + gate

    return Wrapped(run, **SHAPES), (floats(2, 5, 16), floats(2, 5, 16) + 1)


@ordinary("attention")
def keys_that_all_texts_share() -> Made:
    def run(w: dict[str, torch.Tensor], q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("tbd,md->tbm", q, w["c_proj"][:7]) / 4
        return torch.einsum("tbm,bme->tbe", scores.softmax(-1), v)

    return Wrapped(run, **SHAPES), (floats(3, 2, 16), floats(2, 7, 16))
