# mypy: ignore-errors
"""A mixture of experts: each token goes to the two that its router likes most; batched products for attention."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class RootMeanSquare(nn.Module):
    def __init__(self, width, epsilon=1e-6):
        super().__init__()
        self.scale, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x):
        mean_square = torch.mean(torch.square(x), dim=-1, keepdim=True)
        return self.scale * x / torch.sqrt(mean_square + self.epsilon)


class Expert(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Mixture(nn.Module):
    def __init__(self, width, experts=4, chosen=2):
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList([Expert(width, 48) for _ in range(experts)])
        self.chosen = chosen

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        probabilities = self.router(flat).softmax(-1)
        weights, index = probabilities.topk(self.chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows, place = torch.where(index == number)
            out[rows] += weights[rows, place, None] * expert(flat[rows])
        return out.view_as(x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.maps = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in ("q", "k", "v", "o")})

    def fold(self, x):
        b, t, _ = x.shape
        return x.view(b, t, self.heads, self.size).transpose(1, 2).reshape(b * self.heads, t, self.size)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (self.fold(self.maps[name](x)) for name in ("q", "k", "v"))
        hidden = torch.full((t, t), float("-inf")).triu(1)
        scores = torch.baddbmm(hidden.expand(len(q), t, t), q, k.transpose(1, 2), alpha=self.size**-0.5)
        mixed = torch.bmm(torch.softmax(scores, -1), v)
        mixed = mixed.view(b, self.heads, t, self.size).transpose(1, 2).reshape(b, t, c)
        return self.maps["o"](mixed)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.before, self.attention = RootMeanSquare(width), Attention(width, heads)
        self.between, self.mixture = RootMeanSquare(width), Mixture(width)

    def forward(self, x):
        x = x + self.attention(self.before(x))
        return x + self.mixture(self.between(x))


class Model(nn.Module):
    def __init__(self, vocab=50, width=32, heads=4):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.places = nn.Embedding(16, width)
        self.trunk = nn.ModuleDict({"first": Block(width, heads), "second": Block(width, heads)})
        self.after = RootMeanSquare(width)
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1])
        x = self.embedding(tokens) + self.places(places)
        for block in self.trunk.values():
            x = block(x)
        return self.head(self.after(x))


def make():
    return Model(), (torch.randint(0, 50, (2, 7)),)
