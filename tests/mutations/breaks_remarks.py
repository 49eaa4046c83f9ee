"""Ways to break what is only remarked where it is otherwise: each is the difference that its remark names."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..capture.seen.test_departures import SEES, TOKENS, Layer, T, W, X, attend, of
from .breaking import Patch, breaks


@breaks("mask-given-seen", "a mask is there, but the attention hides nothing")
def _mask_that_is_ignored(patch: Patch) -> tuple[nn.Module, Any]:
    return of(lambda s, x: attend(x, x, 2 * x), mask=SEES.float()).eval(), X


@breaks("linear-bias-seen", "the weights of a layer are used without its bias")
def _bias_that_is_passed_by(patch: Patch) -> tuple[nn.Module, Any]:
    return of(lambda s, x: F.linear(x, s.map.weight) * 2, map=nn.Linear(W, W)).eval(), X


@breaks("norm-kept-seen", "the norm's result is multiplied by a number of its own")
def _norm_times_a_number(patch: Patch) -> tuple[nn.Module, Any]:
    return of(lambda s, x: s.map(s.norm(x) * 1.5), norm=nn.LayerNorm(W), map=nn.Linear(W, W)).eval(), X


@breaks("layer-order-seen", "a layer that stands later in the list ran before")
def _layers_backwards(patch: Patch) -> tuple[nn.Module, Any]:
    return of(lambda s, x: s.layers[0](s.layers[1](x)), layers=nn.ModuleList(Layer() for _ in range(2))).eval(), X


@breaks("positions-in-order-seen", "positions are counted from 1")
def _positions_from_one(patch: Patch) -> tuple[nn.Module, Any]:
    def run(s: Any, tokens: torch.Tensor) -> Any:
        return s.words(tokens) + s.places(torch.arange(1, T + 1))

    return of(run, words=nn.Embedding(20, W), places=nn.Embedding(20, W)).eval(), TOKENS


@breaks("rotary-angles-seen", "another base than 10000")
def _rotation_of_another_base(patch: Patch) -> tuple[nn.Module, Any]:
    def run(s: Any, x: torch.Tensor) -> Any:
        angles = torch.outer(torch.arange(T).float(), 500.0 ** (-torch.arange(0, W, 2).float() / W))
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        return x * cos + torch.cat((-x[..., W // 2 :], x[..., : W // 2]), -1) * sin

    return of(run).eval(), X
