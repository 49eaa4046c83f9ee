"""Modules broken that compute in one call what others have submodules for: experts, and torch's own attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf
from torch import nn
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4Experts
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.llama4.modeling_llama4 import Llama4TextExperts
from transformers.models.mixtral.modeling_mixtral import MixtralExperts
from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHExperts

from .breaking import Patch, breaks

SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 12, "num_local_experts": 4, "num_experts_per_tok": 2}
EXPERTS: dict[str, Callable[[], nn.Module]] = {
    "experts": lambda: MixtralExperts(hf.MixtralConfig(**SIZES)),
    "experts-not-gated": lambda: NemotronHExperts(hf.NemotronHConfig(
        hidden_size=16, moe_intermediate_size=12, n_routed_experts=4)),
    "experts-limited": lambda: DeepseekV4Experts(hf.DeepseekV4Config(**SIZES, swiglu_limit=0.5)),
    "experts-gpt-oss": lambda: GptOssExperts(hf.GptOssConfig(**SIZES, swiglu_limit=0.5)),
    "experts-in-order": lambda: stated(Llama4TextExperts, hf.Llama4TextConfig(**SIZES)),
}  # fmt: skip
Forward = Callable[..., Any]


def stated(kind: type[nn.Module], config: Any) -> nn.Module:
    """A module that has its configuration with it, as its model would have."""
    module = kind(config)
    module.config = config
    return module


def built(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Experts, and eight tokens with two of four experts each."""
    module = EXPERTS[name]()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    chosen = ("router_indices", "routing_weights") if name == "experts-gpt-oss" else ("top_k_index", "top_k_weights")
    given = {"hidden_states": torch.randn(8, 16)}
    if name != "experts-in-order":
        given |= zip(chosen, (torch.rand(8, 4).topk(2).indices, torch.rand(8, 2)), strict=True)
    return module.eval(), given


def broken(name: str, variant: str | None, forward: Callable[[Forward], Forward]) -> None:
    """Experts with another forward, made of their own."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        module, inputs = built(name)
        patch.setattr(type(module), "forward", forward(type(module).forward))
        return module, inputs

    breaks(name, variant)(build)


for _name in ("experts", "experts-not-gated", "experts-limited"):
    broken(_name, None, lambda own: lambda self, hidden_states, top_k_index, top_k_weights: own(
        self, hidden_states, (top_k_index + 1) % 4, top_k_weights))  # fmt: skip
broken("experts", "the experts' results are not weighted", lambda own: lambda self, hidden_states, top_k_index,
       top_k_weights: own(self, hidden_states, top_k_index, torch.ones_like(top_k_weights)))  # fmt: skip
broken("experts-gpt-oss", None, lambda own: lambda self, hidden_states, router_indices, routing_weights: own(
    self, hidden_states, (router_indices + 1) % 4, routing_weights))  # fmt: skip
broken("experts-in-order", None, lambda own: lambda self, hidden_states: own(self, hidden_states.roll(2, 0)))


def _exchanged(own: Forward) -> Forward:
    def forward(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> torch.Tensor:
        gate, up = torch.einsum("ne,nkfe->nkf", hidden_states, self.gate_up_proj[top_k_index]).chunk(2, -1)
        each = torch.einsum("nkf,nkof->nko", self.act_fn(up) * gate, self.down_proj[top_k_index])
        return torch.einsum("nko,nk->no", each, top_k_weights)

    return forward


def _gates_first(own: Forward) -> Forward:
    def forward(self: Any, hidden_states: Any, router_indices: Any, routing_weights: Any) -> torch.Tensor:
        found = torch.einsum("ne,nkef->nkf", hidden_states, self.gate_up_proj[router_indices])
        gate, up = (found + self.gate_up_proj_bias[router_indices]).chunk(2, -1)
        gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        gated = (up + 1) * (gate * (gate * self.alpha).sigmoid())
        each = torch.einsum("nkf,nkfo->nko", gated, self.down_proj[router_indices])
        return torch.einsum("nko,nk->no", each + self.down_proj_bias[router_indices], routing_weights)

    return forward


def _unlimited(own: Forward) -> Forward:
    def forward(self: Any, **given: Any) -> Any:
        self.limit = 100.0
        return own(self, **given)

    return forward


broken("experts", "gate and up are exchanged", _exchanged)
broken("experts-gpt-oss", "all gates first, then all ups (not alternating)", _gates_first)
broken("experts-limited", None, _unlimited)


def attention(first: bool, variant: str | None, forward: Callable[[Forward], Forward]) -> None:
    """torch's attention, batch or positions first, with another forward, made of its own."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        module = nn.MultiheadAttention(16, 4, batch_first=first).eval()
        nn.init.normal_(module.in_proj_bias)
        nn.init.normal_(module.in_proj_weight)
        patch.setattr(nn.MultiheadAttention, "forward", forward(nn.MultiheadAttention.forward))
        x, y = (torch.randn(*((2, n) if first else (n, 2)), 16) for n in (5, 7))
        later = torch.ones(5, 7, dtype=torch.bool).triu(1)
        return module, {"query": x, "key": y, "value": y, "attn_mask": later}

    breaks("torch-multi-head" if first else "torch-multi-head-columns", variant)(build)


def _unscaled(own: Forward) -> Forward:
    def forward(self: Any, query: Any, key: Any, value: Any, attn_mask: Any) -> Any:
        weights, biases = (x.chunk(3) for x in (self.in_proj_weight, self.in_proj_bias))
        given = zip((query, key, value), weights, biases, strict=True)
        q, k, v = (F.linear(*each).view(*each[0].shape[:-1], 4, 4) for each in given)
        scores = torch.einsum("bthd,bshd->bhts", q, k).masked_fill(attn_mask, -torch.inf)
        mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v)
        return self.out_proj(mixed.flatten(-2)), None

    return forward


def _values_of_the_keys(own: Forward) -> Forward:
    return lambda self, query, key, value, **masks: own(self, query, key, value.roll(1, 0), **masks)


for _first in (True, False):
    attention(_first, "the masks are not applied", lambda own: lambda self, query, key, value, **_: own(
        self, query, key, value))  # fmt: skip
    attention(_first, None, _values_of_the_keys)
attention(True, "scores not scaled", _unscaled)
