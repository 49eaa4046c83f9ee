"""Small departures, in single precision and, where they exceed rounding, in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations import sdpa_attention

from ..conftest import tiny
from .breaking import Patch, breaks, leaf
from .breaks_layers import build

OWN_FACTOR = "scores scaled by the module's own factor instead of 1/sqrt(d_k)"

leaf("layer-norm", nn.LayerNorm(8), lambda self, input: F.layer_norm(
    input, (8,), self.weight, self.bias, self.eps) * 1.0005)  # fmt: skip


@breaks("attention", OWN_FACTOR)
def _scale_three_percent_off(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    for layer in model.bert.encoder.layer:
        layer.attention.self.query.weight.mul_(20)  # so that the scores matter
        layer.attention.self.scaling *= 1.03
    return model, inputs


def _in_the_kernel(change: Callable[..., Any]) -> Callable[[Patch], tuple[nn.Module, Any]]:
    """The fused kernel is given something else than the attention was."""

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = tiny("bert")
        for layer in model.bert.encoder.layer:
            layer.attention.self.query.weight.mul_(20)
        fused = F.scaled_dot_product_attention

        def kernel(query: Any, key: Any, value: Any, **rest: Any) -> Any:
            return fused(*change(query, key, value), **rest)

        patch.setattr(sdpa_attention.torch.nn.functional, "scaled_dot_product_attention", kernel)
        return model, inputs

    return broken


def _one_heads_values(query: Any, key: Any, value: Any) -> Any:
    factor = torch.ones(value.shape[1])
    factor[:2] = 1.01
    return query, key, value * factor[:, None, None]


breaks("attention")(_in_the_kernel(lambda query, key, value: (query * 1.03, key, value)))
breaks("attention")(_in_the_kernel(_one_heads_values))


def _in_half_precision(name: str, kind: str, change: Callable[[Any], Any]) -> Callable[[Patch], tuple[nn.Module, Any]]:
    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = build(name)
        for module in model.modules():
            if type(module).__name__ == kind:
                change(module)
        return model.to(torch.bfloat16), inputs

    return broken


def _result_larger(module: Any) -> None:
    module.register_forward_hook(lambda m, args, out: out * 1.05)


breaks("linear")(_in_half_precision("llama", "Linear", _result_larger))
breaks("rms-norm")(_in_half_precision("mamba", "MambaRMSNorm", _result_larger))
breaks("layer-norm")(_in_half_precision("roberta", "LayerNorm", _result_larger))
breaks("embedding")(_in_half_precision("roberta", "Embedding", _result_larger))
breaks("attention", OWN_FACTOR)(
    _in_half_precision("llama", "LlamaAttention", lambda module: setattr(module, "scaling", 20.0))
)
