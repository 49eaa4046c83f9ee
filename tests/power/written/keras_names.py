# mypy: ignore-errors
"""An encoder with norms behind the sums, names as in Keras, and an additive mask for padding."""

import math

import torch
from torch import nn


class DenseLayer(nn.Module):
    def __init__(self, units_in, units_out, activation=None):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(units_in, units_out) / math.sqrt(units_in))
        self.bias = nn.Parameter(torch.randn(units_out) * 0.1)
        self.activation = activation

    def forward(self, inputs):
        outputs = torch.matmul(inputs, self.kernel) + self.bias
        return outputs if self.activation is None else self.activation(outputs)


class SelfAttentionLayer(nn.Module):
    def __init__(self, hidden_dim, num_heads):
        super().__init__()
        self.num_heads, self.key_dim = num_heads, hidden_dim // num_heads
        self.query_dense = DenseLayer(hidden_dim, hidden_dim)
        self.key_dense = DenseLayer(hidden_dim, hidden_dim)
        self.value_dense = DenseLayer(hidden_dim, hidden_dim)
        self.output_dense = DenseLayer(hidden_dim, hidden_dim)

    def split(self, inputs):
        return inputs.reshape(*inputs.shape[:2], self.num_heads, self.key_dim).permute(0, 2, 1, 3)

    def forward(self, inputs, padding):
        query = self.split(self.query_dense(inputs))
        key = self.split(self.key_dense(inputs))
        value = self.split(self.value_dense(inputs))
        logits = torch.matmul(query, key.permute(0, 1, 3, 2)) / math.sqrt(self.key_dim)
        logits = logits + padding[:, None, None, :] * -1e9
        weights = torch.softmax(logits, dim=-1)
        context = torch.matmul(weights, value).permute(0, 2, 1, 3)
        return self.output_dense(context.reshape(inputs.shape))


class EncoderLayer(nn.Module):
    def __init__(self, hidden_dim, num_heads):
        super().__init__()
        self.mha = SelfAttentionLayer(hidden_dim, num_heads)
        self.ffn_in = DenseLayer(hidden_dim, 4 * hidden_dim, nn.GELU())
        self.ffn_out = DenseLayer(4 * hidden_dim, hidden_dim)
        self.layernorm1 = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.layernorm2 = nn.LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, inputs, padding):
        attended = self.layernorm1(inputs + self.mha(inputs, padding))
        return self.layernorm2(attended + self.ffn_out(self.ffn_in(attended)))


class TextEncoder(nn.Module):
    def __init__(self, vocab=50, hidden_dim=32, num_heads=4, num_layers=2):
        super().__init__()
        self.token_table = nn.Embedding(vocab, hidden_dim)
        self.position_table = nn.Embedding(16, hidden_dim)
        self.enc_layers = nn.ModuleList([EncoderLayer(hidden_dim, num_heads) for _ in range(num_layers)])

    def forward(self, token_ids, padding):
        positions = torch.arange(token_ids.shape[1])[None]
        outputs = self.token_table(token_ids) + self.position_table(positions)
        for layer in self.enc_layers:
            outputs = layer(outputs, padding)
        return outputs


def make():
    padding = torch.zeros(2, 7)
    padding[1, 5:] = 1
    return TextEncoder(), (torch.randint(0, 50, (2, 7)), padding)
