"""Every equation sees the ways in which its model can be broken, and names the known variant that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForMaskedLM
from transformers.activations import GELUActivation, NewGELUActivation, QuickGELUActivation
from transformers.integrations import sdpa_attention
from transformers.models.bert import modeling_bert
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.marian import modeling_marian
from transformers.pytorch_utils import Conv1D

from tftrace.recipes.format.contrary import against
from tftrace.recipes.format.library import library

from ..capture.check.test_checker import verdicts
from ..conftest import tiny
from . import (  # noqa: F401 - registered by importing
    breaks_experts,
    breaks_families,
    breaks_layers,
    breaks_leaves,
    breaks_remarks,
    breaks_seen,
    breaks_shown,
    breaks_slight,
    breaks_stated,
    breaks_torch_layers,
)
from .breaking import BROKEN, Patch, breaks, in_place, leaf

pytestmark = pytest.mark.usefixtures("no_grad")

leaf("linear", nn.Linear(8, 6), lambda self, input: F.linear(input, self.weight))
leaf("linear", nn.Linear(8, 6), lambda self, input: F.linear(input, self.weight * 1.001, self.bias))
leaf("conv1d", Conv1D(6, 8), lambda self, x: x @ self.weight + 1e-3)
leaf(
    "embedding",
    nn.Embedding(9, 4),
    lambda self, input: F.embedding((input + 1) % 9, self.weight),
    torch.arange(6)[None],
)
leaf("layer-norm", nn.LayerNorm(8), lambda self, input: F.layer_norm(input, (8,), self.weight, self.bias, 1e-3))
leaf("layer-norm", nn.LayerNorm(8), lambda self, input: F.rms_norm(input, (8,), self.weight, self.eps),
     variant="root mean square only (RMSNorm): the mean is not subtracted")  # fmt: skip
leaf("dropout", nn.Dropout(0.1).eval(), lambda self, input: input * 0.9)
leaf("identity", nn.Identity(), lambda self, input: input + 1e-5)
leaf("softmax", nn.Softmax(-1), lambda self, input: F.softmax(input, 1))
leaf("gelu", nn.GELU(), lambda self, input: F.gelu(input, approximate="tanh"), variant="the tanh approximation of GELU")
leaf("gelu", GELUActivation(), lambda self, input: F.relu(input), variant="ReLU")
leaf("gelu-tanh", NewGELUActivation(), lambda self, input: F.gelu(input), variant="the exact GELU (erf)")
leaf("gelu-quick", QuickGELUActivation(), lambda self, input: F.silu(input))
leaf("relu", nn.ReLU(), lambda self, input: F.leaky_relu(input))
leaf("silu", nn.SiLU(), lambda self, input: F.gelu(input))
leaf("tanh", nn.Tanh(), lambda self, input: F.hardtanh(input))
leaf("sigmoid", nn.Sigmoid(), lambda self, input: F.hardsigmoid(input))


@breaks("attention", "scores not scaled")
def _scale_dropped(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    for layer in model.bert.encoder.layer:
        layer.attention.self.scaling = 1.0
    return model, inputs


@breaks("attention", "scores scaled by the module's own factor instead of 1/sqrt(d_k)")
def _scale_of_its_own(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2", "eager")
    for block in model.transformer.h:
        block.attn.scaling = 0.5
    return model, inputs


@breaks("attention", "the mask is not applied")
def _mask_ignored(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert", "eager")

    def eager(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **_: Any) -> Any:
        weights = (query @ key.transpose(2, 3) * scaling).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    in_place(patch, modeling_bert, "eager_attention_forward", eager)
    return model, inputs


@breaks("attention", "a boolean mask is added to the scores as the numbers 0 and 1, and hides nothing")
def _mask_added_as_numbers(patch: Patch) -> tuple[nn.Module, Any]:
    """As in GroundingDINO of transformers 5.24, with eager attention."""
    model, inputs = tiny("bert", "eager")
    seen = inputs["attention_mask"].bool()
    return model, inputs | {"attention_mask": seen[:, None, None, :] & seen[:, None, :, None]}


@breaks("attention", "queries see later keys: no causal mask")
def _causal_mask_lost(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    original = F.scaled_dot_product_attention
    patch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: original(*args, **kwargs | {"is_causal": False}),
    )
    return model, {"input_ids": inputs["input_ids"]}


@breaks("transformer-embedding", "embeddings not multiplied by sqrt(d_model)")
def _embedding_scale(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    model.model.encoder.embed_scale = model.model.decoder.embed_scale = 1.0
    return model, inputs


@breaks("transformer-positions", "all sines first, then all cosines (not alternating)")
def _positions_not_alternating(patch: Patch) -> tuple[nn.Module, Any]:
    return tiny("marian")  # as it is: the code departs from the paper


@breaks("transformer-positions")
def _positions_of_another_base(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    model.model.encoder.embed_positions.weight.mul_(1.01)
    model.model.decoder.embed_positions.weight.mul_(1.01)
    return model, inputs


def scaled(module: nn.Module, factor: float = 1.01) -> None:
    """Let a module return a little more than it should."""
    module.register_forward_hook(lambda m, a, out: out * factor)


@breaks("transformer-multi-head")
def _marian_output_projection(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    for module in model.modules():
        if isinstance(module, modeling_marian.MarianAttention):
            scaled(module.out_proj)
    return model, inputs


@breaks("transformer-multi-head")
def _marian_heads_in_another_order(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    for module in model.modules():
        if isinstance(module, modeling_marian.MarianAttention):
            module.out_proj.register_forward_pre_hook(lambda m, args: (args[0].flip(-1),))
    return model, inputs


@breaks("transformer-encoder-layer", "no residual connection around the sublayers")
def _encoder_without_residual(patch: Patch) -> tuple[nn.Module, Any]:
    def forward(self: Any, hidden_states: Any, attention_mask: Any, **kwargs: Any) -> Any:
        hidden_states, _ = self.self_attn(hidden_states, attention_mask=attention_mask, **kwargs)
        hidden_states = self.self_attn_layer_norm(hidden_states)
        return self.final_layer_norm(self.fc2(self.activation_fn(self.fc1(hidden_states))))

    patch.setattr(modeling_marian.MarianEncoderLayer, "forward", forward)
    return tiny("marian")


@breaks("transformer-decoder-layer")
def _decoder_residual_weakened(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    for layer in model.model.decoder.layers:
        layer.encoder_attn_layer_norm.register_forward_pre_hook(lambda m, args: (args[0] + torch.randn(32) * 0.01,))
    return model, inputs


@breaks("transformer-ffn", "GELU in place of ReLU")
def _gelu_for_relu(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    for layer in [*model.model.encoder.layers, *model.model.decoder.layers]:
        layer.activation_fn = nn.GELU()
    return model, inputs


@breaks("transformer-head")
def _marian_head_not_tied(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("marian")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight * 1.01)
    return model, inputs


@breaks("bert-embedding")
def _bert_epsilon(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    model.bert.embeddings.LayerNorm.eps = 1e-4  # the config says 1e-12
    return model, inputs


@breaks("bert-embedding", "no segment embeddings")
def _bert_segments_lost(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    kept: list[torch.Tensor] = []
    model.bert.embeddings.token_type_embeddings.register_forward_hook(lambda m, a, out: kept.append(out))
    model.bert.embeddings.LayerNorm.register_forward_pre_hook(lambda m, args: (args[0] - kept.pop(),))
    return model, inputs


@breaks("bert-multi-head")
def _bert_heads_joined_in_another_order(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    for layer in model.bert.encoder.layer:
        layer.attention.self.register_forward_hook(lambda m, a, out: (out[0].flip(-1), out[1]))
    return model, inputs


@breaks("bert-residual", "no residual connection")
def _bert_without_residual(patch: Patch) -> tuple[nn.Module, Any]:
    def forward(self: Any, hidden_states: Any, input_tensor: Any) -> Any:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)))

    for kind in (modeling_bert.BertSelfOutput, modeling_bert.BertOutput):
        patch.setattr(kind, "forward", forward)
    return tiny("bert")


@breaks("bert-residual", "not normalized")
def _bert_without_norm(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    for layer in model.bert.encoder.layer:
        for output in (layer.attention.output, layer.output):
            output.LayerNorm.forward = lambda x: x
    return model, inputs


def _bert_relu(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    for layer in model.bert.encoder.layer:
        layer.intermediate.intermediate_act_fn = nn.ReLU()
    return model, inputs


breaks("bert-ffn", "ReLU in place of GELU")(_bert_relu)
breaks("bert-ffn-inner", "ReLU in place of GELU")(_bert_relu)


@breaks("bert-pooler")
def _bert_pools_the_last_token(patch: Patch) -> tuple[nn.Module, Any]:
    forward = modeling_bert.BertPooler.forward
    patch.setattr(modeling_bert.BertPooler, "forward", lambda self, hidden_states: forward(self, hidden_states.flip(1)))
    return tiny("bert")


@breaks("bert-classifier", "without the bias")
def _bert_bias_lost(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("bert")
    model.classifier.forward = lambda x: F.linear(x, model.classifier.weight)
    return model, inputs


@breaks("bert-mlm-head")
def _bert_mlm_head(patch: Patch) -> tuple[nn.Module, Any]:
    _, inputs = tiny("bert")
    config = BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, vocab_size=100
    )
    model = BertForMaskedLM(config).eval()
    scaled(model.cls.predictions.decoder)
    return model, inputs


@breaks("gpt2-embedding", "no position embeddings")
def _gpt2_positions_lost(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    model.transformer.wpe.register_forward_hook(lambda m, a, out: out * 0)
    return model, inputs


@breaks("gpt2-block")
def _gpt2_epsilon(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    for block in model.transformer.h:
        block.ln_2.eps = 1e-3  # the config says 1e-5
    return model, inputs


@breaks("gpt2-block", "no residual connection around the sublayers")
def _gpt2_without_residual(patch: Patch) -> tuple[nn.Module, Any]:
    def forward(
        self: Any, hidden_states: Any, past_key_values: Any = None, attention_mask: Any = None, *_: Any, **kw: Any
    ) -> Any:
        h, _ = self.attn(self.ln_1(hidden_states), past_key_values=past_key_values, attention_mask=attention_mask)
        return self.mlp(self.ln_2(h))

    patch.setattr(modeling_gpt2.GPT2Block, "forward", forward)
    return tiny("gpt2")


@breaks("gpt2-multi-head")
def _gpt2_projection(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    for block in model.transformer.h:
        scaled(block.attn.c_proj)
    return model, inputs


@breaks("gpt2-ffn", "the exact GELU (erf) in place of its tanh approximation")
def _gpt2_exact_gelu(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    for block in model.transformer.h:
        block.mlp.act = nn.GELU()
        block.mlp.c_fc.weight.mul_(20)  # wide enough for the two to part
    return model, inputs


@breaks("gpt2-head")
def _gpt2_head_not_tied(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = tiny("gpt2")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight * 1.01)
    return model, inputs


@pytest.mark.parametrize(
    ("equation", "build", "variant"),
    [
        pytest.param(equation, build, variant, id=f"{equation}-{i}")
        for equation, ways in BROKEN.items()
        for i, (build, variant) in enumerate(ways)
    ],
)
def test_a_broken_model_differs(
    equation: str, build: Callable[[Patch], tuple[nn.Module, Any]], variant: str | None, monkeypatch: Patch
) -> None:
    model, inputs = build(monkeypatch)
    rows = verdicts(model, inputs, equation)
    seen = {(r["verdict"], r["variant"]) for r in rows}
    # what is stated makes a mistake of a design, which then has a name of its own
    assert {("differs", variant), ("differs", variant and against(variant))} & seen, rows
    exact = equation.startswith(("positions-in-order", "mask-given"))  # whole numbers are not rounded
    assert all(r["residual"] > r["bound"] and (r["bound"] > 0 or exact) for r in rows if r["verdict"] == "differs")


def test_every_equation_has_a_way_to_break_it() -> None:
    checked = {e.id for e in library().equations.values() if not all(bind.unchecked for bind in e.binds)}
    assert set(BROKEN) == checked
