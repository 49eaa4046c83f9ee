# mypy: ignore-errors
"""Torch's own attention and norms, put together by hand."""

import torch
from torch import nn


class DecoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.first_norm = nn.LayerNorm(width)
        self.second_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x):
        size = x.shape[1]
        hidden = torch.triu(torch.ones(size, size, dtype=torch.bool), diagonal=1)
        h = self.first_norm(x)
        attended, _ = self.self_attention(h, h, h, attn_mask=hidden, need_weights=False)
        x = x + attended
        h = self.second_norm(x)
        return x + self.contract(self.activation(self.expand(h)))


class Decoder(nn.Module):
    def __init__(self, vocab=50, width=32, heads=4, depth=2):
        super().__init__()
        self.words = nn.Embedding(vocab, width)
        self.places = nn.Embedding(16, width)
        self.blocks = nn.ModuleList([DecoderBlock(width, heads) for _ in range(depth)])
        self.last_norm = nn.LayerNorm(width)
        self.to_words = nn.Linear(width, vocab)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1])
        x = self.words(tokens) + self.places(places)
        for block in self.blocks:
            x = block(x)
        return self.to_words(self.last_norm(x))


def make():
    return Decoder(), (torch.randint(0, 50, (2, 9)),)
