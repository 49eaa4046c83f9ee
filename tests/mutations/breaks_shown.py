"""Models broken in what the TeX of an equation shows and its formula once left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.integrations import sdpa_attention
from transformers.models.convnextv2.modeling_convnextv2 import ConvNextV2GRN
from transformers.models.swin import modeling_swin

from .breaking import Patch, breaks
from .breaks_layers import build, modules


@breaks("vit-head")
def _the_last_norm_skipped(patch: Patch) -> tuple[nn.Module, Any]:
    """The norm runs, and the head reads what went into it."""
    model, inputs = build("vit_head")
    kept: list[torch.Tensor] = []
    model.vit.layernorm.register_forward_pre_hook(lambda m, args: kept.append(args[0]))

    def unnormalized(module: Any, args: Any, out: Any) -> Any:
        out.last_hidden_state = kept.pop()
        return out

    model.vit.register_forward_hook(unnormalized)
    return model, inputs


@breaks("swin-multi-head", "without the relative position bias")
def _the_bias_not_added(patch: Patch) -> tuple[nn.Module, Any]:
    """The kernel does all that it is told to, and is not told of the bias."""
    model, inputs = build("swin_head")
    for bias in modules(model, "SwinRelativePositionBias"):
        bias.relative_position_bias_table.normal_()

    def unbiased(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        bias = module.relative_position_bias()
        return sdpa_attention.sdpa_attention_forward(module, query, key, value, mask - bias, **kwargs)

    patch.setattr(modeling_swin.ALL_ATTENTION_FUNCTIONS, "get_interface", lambda *names: unbiased)
    return model, inputs


@breaks("swin-multi-head", "without the mask of the shifted windows")
def _the_mask_not_added(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("swin_head")
    forward = modeling_swin.SwinAttention.forward

    def unmasked(self: Any, hidden_states: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return forward(self, hidden_states, attention_mask if attention_mask is None else attention_mask * 0, **kwargs)

    patch.setattr(modeling_swin.SwinAttention, "forward", unmasked)
    return model, inputs


@breaks("convnext-v2-layer", "divided by the sum of the sizes, as Eq. (2) of the paper has it")
def _sizes_summed(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("convnextv2")

    def forward(self: Any, hidden_states: torch.Tensor) -> Any:
        size = hidden_states.norm(dim=(1, 2), keepdim=True)
        share = size / (size.sum(-1, keepdim=True) + 1e-6)
        return self.weight * (hidden_states * share) + self.bias + hidden_states

    for norm in modules(model, "ConvNextV2GRN"):
        norm.weight.normal_()
    patch.setattr(ConvNextV2GRN, "forward", forward)
    return model, inputs


@breaks("convnext-v2-layer", "without the response normalization")
def _no_response_norm(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("convnextv2")
    for norm in modules(model, "ConvNextV2GRN"):
        norm.weight.normal_()
    patch.setattr(ConvNextV2GRN, "forward", lambda self, hidden_states: hidden_states)
    return model, inputs
