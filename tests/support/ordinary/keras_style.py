"""Names and layers as in Keras: a dict of layers, dense kernels of one's own, attention with an output per head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .entry import Entry, Made, floats, style, tokens

ENTRIES: list[Entry] = []
ordinary = style("keras", ENTRIES)


class Dense(nn.Module):
    def __init__(self, units_in: int, units: int, activation: Any = None) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(units_in, units)), nn.Parameter(torch.zeros(units))
        self.activation = activation

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = torch.matmul(inputs, self.kernel) + self.bias
        return outputs if self.activation is None else self.activation(outputs)


class LayerNormalization(nn.Module):
    def __init__(self, units: int, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.gamma, self.beta, self.epsilon = nn.Parameter(torch.rand(units)), nn.Parameter(torch.rand(units)), epsilon

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        mean = inputs.mean(dim=-1, keepdim=True)
        variance = ((inputs - mean) ** 2).mean(dim=-1, keepdim=True)
        return (inputs - mean) * torch.rsqrt(variance + self.epsilon) * self.gamma + self.beta


class MultiHeadAttention(nn.Module):
    """A kernel for each head, three-dimensional."""

    def __init__(self, num_heads: int = 4, key_dim: int = 4, width: int = 16) -> None:
        super().__init__()
        self.query_kernel, self.key_kernel, self.value_kernel = (
            nn.Parameter(torch.randn(width, num_heads, key_dim)) for _ in range(3)
        )
        self.output_kernel, self.scale = nn.Parameter(torch.randn(num_heads, key_dim, width)), key_dim**-0.5

    def forward(self, query: torch.Tensor, value: torch.Tensor, attention_mask: Any = None) -> torch.Tensor:
        query = torch.einsum("abc,cde->abde", query, self.query_kernel)
        key = torch.einsum("abc,cde->abde", value, self.key_kernel)
        value = torch.einsum("abc,cde->abde", value, self.value_kernel)
        query = torch.multiply(query, self.scale)
        scores = torch.einsum("aecd,abcd->acbe", key, query)
        if attention_mask is not None:
            scores = scores + (1.0 - attention_mask.float()) * -1e9
        probabilities = torch.softmax(scores, dim=-1)
        outputs = torch.einsum("acbe,aecd->abcd", probabilities, value)
        return torch.einsum("abcd,cde->abe", outputs, self.output_kernel)


class TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.att = MultiHeadAttention()
        self.ffn = nn.Sequential(Dense(16, 32, F.relu), Dense(32, 16))
        self.layernorm1, self.layernorm2 = LayerNormalization(16), LayerNormalization(16)
        self.dropout1, self.dropout2 = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        attn_output = self.dropout1(self.att(inputs, inputs))
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.dropout2(self.ffn(out1))
        return self.layernorm2(out1 + ffn_output)


@ordinary("attention", "feed-forward", "layer-norm")
def transformer_block() -> Made:
    return TransformerBlock(), (floats(2, 5, 16),)


@ordinary("attention")
def kernels_per_head() -> Made:
    return MultiHeadAttention(), (floats(2, 5, 16), floats(2, 7, 16), torch.ones(2, 1, 5, 7))


@ordinary("layer-norm")
def layer_normalization() -> Made:
    return LayerNormalization(8), (floats(2, 5, 8),)


@ordinary("feed-forward")
def dense_layers_in_a_dict() -> Made:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict({"dense_1": Dense(8, 16), "dense_2": Dense(16, 8)})

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = F.gelu(self.layers["dense_1"](inputs), approximate="tanh")
            return self.layers["dense_2"](hidden)

    return Layers(), (floats(2, 5, 8),)


@ordinary()
def a_dot_product_attention_without_scale() -> Made:
    """Luong's: scores are not scaled, which is remarked and not wrong."""

    class Attention(nn.Module):
        def forward(self, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            scores = torch.matmul(query, value.transpose(1, 2))
            return torch.matmul(torch.softmax(scores, dim=-1), value)

    return Attention(), (floats(2, 5, 8), floats(2, 7, 8))


@ordinary()
def additive_attention() -> Made:
    """Bahdanau's: a sum and a tanh in the place of the product."""

    class Additive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.randn(8))

        def forward(self, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            scores = (self.scale * torch.tanh(query.unsqueeze(-2) + value.unsqueeze(-3))).sum(-1)
            return torch.matmul(torch.softmax(scores, -1), value)

    return Additive(), (floats(2, 5, 8), floats(2, 7, 8))


@ordinary()
def token_and_position_embedding() -> Made:
    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token_emb, self.pos_emb = nn.Embedding(20, 8), nn.Embedding(5, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.token_emb(x) + self.pos_emb(torch.arange(0, x.shape[-1]))

    return Embedding(), (tokens(2, 5),)


@ordinary()
def squeeze_and_excite() -> Made:
    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reduce, self.expand = Dense(8, 2, F.relu), Dense(2, 8, torch.sigmoid)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * self.expand(self.reduce(inputs.mean(dim=1, keepdim=True)))

    return Squeeze(), (floats(2, 5, 8),)
