# mypy: ignore-errors
"""Attention by torch's fused function, a tanh GELU, and the layers' outputs scaled at birth."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm_a, self.norm_f = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm_a(x))
        hidden = F.gelu(self.fc(self.norm_f(x)), approximate="tanh")
        return x + self.proj(hidden)


class Net(nn.Module):
    def __init__(self, vocab=50, width=32, heads=4, depth=2, context=16):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Parameter(0.3 * torch.randn(context, width))
        self.stack = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.tokens(ids) + self.places[: ids.shape[1]]
        for layer in self.stack:
            x = layer(x)
        return F.linear(self.norm(x), self.tokens.weight)


def make():
    return Net(), (torch.randint(0, 50, (2, 9)),)
