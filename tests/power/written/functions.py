# mypy: ignore-errors
"""Functions over dicts of weights, as in programs for numpy: only the outermost thing is a module."""

import math

import torch
import torch.nn as nn


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, g, b, eps=1e-5):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return g * (x - mean) / torch.sqrt(variance + eps) + b


def linear(x, w, b):
    return x @ w + b


def ffn(x, p):
    return linear(gelu(linear(x, p["w1"], p["b1"])), p["w2"], p["b2"])


def attention(q, k, v, mask):
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask, dim=-1) @ v


def mha(x, p, heads):
    q, k, v = linear(x, p["qkv"], p["qkv_b"]).chunk(3, -1)
    q, k, v = [part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (q, k, v)]
    mask = (1 - torch.tril(torch.ones(len(x), len(x)))) * -1e10
    out = attention(q, k, v, mask)
    return linear(out.transpose(0, 1).flatten(1), p["out"], p["out_b"])


def block(x, p, heads):
    x = x + mha(layer_norm(x, p["g1"], p["h1"]), p, heads)
    return x + ffn(layer_norm(x, p["g2"], p["h2"]), p)


def run(tokens, params, heads):
    positions = torch.arange(len(tokens))
    x = params["wte"][tokens] + params["wpe"][positions]
    for p in params["blocks"]:
        x = block(x, p, heads)
    return layer_norm(x, params["g"], params["h"]) @ params["wte"].T


class Model(nn.Module):
    def __init__(self, vocab=50, width=32, heads=4, layers=2):
        super().__init__()
        self.heads = heads

        def weight(*shape):
            return 0.4 * torch.randn(*shape)

        def layer():
            return {
                "qkv": weight(width, 3 * width), "qkv_b": weight(3 * width), "out": weight(width, width),
                "out_b": weight(width), "w1": weight(width, 64), "b1": weight(64), "w2": weight(64, width),
                "b2": weight(width), "g1": weight(width), "h1": weight(width), "g2": weight(width), "h2": weight(width),
            }  # fmt: skip

        self.params = {
            "wte": weight(vocab, width), "wpe": weight(16, width), "g": weight(width), "h": weight(width),
            "blocks": [layer() for _ in range(layers)],
        }  # fmt: skip

    def forward(self, tokens):
        return run(tokens, self.params, self.heads)


def make():
    return Model(), (torch.randint(0, 50, (9,)),)
