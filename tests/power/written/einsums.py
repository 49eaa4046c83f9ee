# mypy: ignore-errors
"""Sums with named letters, a root-mean-square norm, a gated feed-forward part, rotated halves."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.gain, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.gain


class Rotary(nn.Module):
    def __init__(self, dim, base=10000.0):
        super().__init__()
        self.register_buffer("freq", base ** (-torch.arange(0, dim, 2).float() / dim))

    def forward(self, n):
        t = torch.arange(n).float()
        angles = torch.outer(t, self.freq)
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()


def rotate_half(x):
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)


class Attend(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x, cos, sin):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        sim = torch.einsum("b h i d, b h j d -> b h i j", q, k) * self.scale
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        sim = sim.masked_fill(future, -torch.finfo(sim.dtype).max)
        attn = sim.softmax(dim=-1)
        out = torch.einsum("b h i j, b h j d -> b h i d", attn, v)
        return self.to_out(out.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.gate, self.value = nn.Linear(dim, inner, bias=False), nn.Linear(dim, inner, bias=False)
        self.out = nn.Linear(inner, dim, bias=False)

    def forward(self, x):
        return self.out(F.silu(self.gate(x)) * self.value(x))


class Transformer(nn.Module):
    def __init__(self, vocab=50, dim=32, heads=4, depth=2):
        super().__init__()
        self.token_emb = nn.Embedding(vocab, dim)
        self.rotary = Rotary(dim // heads)
        self.layers = nn.ModuleList([
            nn.ModuleList([RMSNorm(dim), Attend(dim, heads), RMSNorm(dim), SwiGLU(dim, 48)]) for _ in range(depth)
        ])  # fmt: skip
        self.norm = RMSNorm(dim)

    def forward(self, tokens):
        x = self.token_emb(tokens)
        cos, sin = self.rotary(x.shape[1])
        for norm1, attend, norm2, ff in self.layers:
            x = attend(norm1(x), cos, sin) + x
            x = ff(norm2(x)) + x
        return self.norm(x)


def make():
    return Transformer(), (torch.randint(0, 50, (2, 7)),)
