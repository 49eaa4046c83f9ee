"""Ways to break whole layers of torch.nn, and layers of peft."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .breaking import Patch, breaks, leaf


def spread(module: nn.Module) -> nn.Module:
    """Weights by which no part of a layer is small beside another."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.4)
    return module.eval()


def encoder(**options: Any) -> nn.Module:
    return spread(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options))


def decoder(**options: Any) -> nn.Module:
    return spread(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, **options))


def without_residuals(self: Any, src: torch.Tensor, src_mask: Any = None, **_: Any) -> torch.Tensor:
    x = self.norm1(self.self_attn(src, src, src, need_weights=False)[0])
    made: torch.Tensor = self.norm2(self.linear2(self.linear1(x).relu()))
    return made


leaf("torch-encoder-layer", encoder(), without_residuals, variant="no residual connection around the sublayers")
leaf("torch-encoder-layer", encoder(activation="gelu"), lambda self, src: self.norm2(src))
leaf("torch-encoder-layer-pre-norm", encoder(norm_first=True), lambda self, src: self.norm1(
    src + self.self_attn(src, src, src)[0]))  # fmt: skip


@breaks("torch-decoder-layer", "no residual connection around the sublayers")
def _decoder_without_residuals(patch: Patch) -> tuple[nn.Module, Any]:
    def forward(self: Any, tgt: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        x = self.norm1(self.dropout1(self.self_attn(tgt, tgt, tgt)[0]))
        x = self.norm2(self.dropout2(self.multihead_attn(x, memory, memory)[0]))
        made: torch.Tensor = self.norm3(self.dropout3(self.linear2(self.linear1(x).relu())))
        return made

    patch.setattr(nn.TransformerDecoderLayer, "forward", forward)
    return decoder(), {"tgt": torch.randn(2, 4, 8), "memory": torch.randn(2, 5, 8)}


@breaks("torch-decoder-layer-pre-norm")
def _decoder_whose_last_sum_is_lost(patch: Patch) -> tuple[nn.Module, Any]:
    model: Any = decoder(norm_first=True)
    model.dropout3.register_forward_hook(lambda module, given, made: made * 1.01)
    model.register_forward_hook(lambda module, given, made: made * 1.001)
    return model, {"tgt": torch.randn(2, 4, 8), "memory": torch.randn(2, 5, 8)}


class Linear(nn.Module):
    """As peft has it: a frozen map and two narrow ones beside it."""

    def __init__(self, add: Any) -> None:
        super().__init__()
        self.base_layer, self.scaling, self.add = nn.Linear(8, 8), {"default": 2.0}, add
        self.lora_A = nn.ModuleDict({"default": nn.Linear(8, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 8, bias=False)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.add(self.base_layer(x), self.lora_B["default"](self.lora_A["default"](x)))
        return made


Linear.__module__ = "peft.tuners.lora.layer"


@breaks("lora", "without the factor α/r")
def _without_the_factor(patch: Patch) -> tuple[nn.Module, Any]:
    return spread(Linear(lambda y, z: y + z)), torch.randn(3, 5, 8)


@breaks("lora", "what was learned is not added")
def _not_added(patch: Patch) -> tuple[nn.Module, Any]:
    return spread(Linear(lambda y, z: y + 0)), torch.randn(3, 5, 8)


@breaks("lora")
def _another_factor(patch: Patch) -> tuple[nn.Module, Any]:
    return spread(Linear(lambda y, z: y + 2.1 * z)), torch.randn(3, 5, 8)
