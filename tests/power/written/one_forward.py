# mypy: ignore-errors
"""All in one forward, with weights in lists: nothing has a class of its own but the whole."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Whole(nn.Module):
    def __init__(self, vocab=50, d=32, heads=4, layers=2):
        super().__init__()
        self.heads, self.layers = heads, layers
        self.emb = nn.Parameter(torch.randn(vocab, d) * 0.5)
        self.pos = nn.Parameter(torch.randn(16, d) * 0.5)
        self.wqkv = nn.ParameterList([torch.randn(d, 3 * d) * 0.3 for _ in range(layers)])
        self.wo = nn.ParameterList([torch.randn(d, d) * 0.3 for _ in range(layers)])
        self.w1 = nn.ParameterList([torch.randn(d, 2 * d) * 0.3 for _ in range(layers)])
        self.b1 = nn.ParameterList([torch.randn(2 * d) * 0.3 for _ in range(layers)])
        self.w2 = nn.ParameterList([torch.randn(2 * d, d) * 0.3 for _ in range(layers)])
        self.g = nn.ParameterList([torch.rand(d) + 0.5 for _ in range(2 * layers + 1)])

    def forward(self, ids):
        b, t = ids.shape
        positions = torch.arange(t)
        x = self.emb[ids] + self.pos[positions]
        d = x.shape[-1]
        causal = torch.tril(torch.ones(t, t, dtype=torch.bool))
        for i in range(self.layers):
            n = F.layer_norm(x, (d,), self.g[2 * i], None, 1e-5)
            q, k, v = (n @ self.wqkv[i]).view(b, t, 3, self.heads, -1).unbind(2)
            s = torch.einsum("bqhd,bkhd->bhqk", q, k) / (d // self.heads) ** 0.5
            p = torch.where(causal, s, -torch.inf).softmax(-1)
            a = torch.einsum("bhqk,bkhd->bqhd", p, v).reshape(b, t, d)
            x = x + a @ self.wo[i]
            n = F.layer_norm(x, (d,), self.g[2 * i + 1], None, 1e-5)
            x = x + F.gelu(n @ self.w1[i] + self.b1[i]) @ self.w2[i]
        return F.layer_norm(x, (d,), self.g[-1], None, 1e-5) @ self.emb.T


def make():
    return Whole(), (torch.randint(0, 50, (2, 8)),)
