"""Families broken against what their configuration states: LLaMA, Mistral, Qwen, Gemma, Phi, GPT-NeoX, OPT, BART,
RoBERTa, ELECTRA, ViT, CLIP, Swin, Whisper."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf
from torch import nn
from transformers.activations import GELUTanh
from transformers.integrations import sdpa_attention
from transformers.models.cohere import modeling_cohere
from transformers.models.glm import modeling_glm
from transformers.models.llama import modeling_llama

from ..support.zoo_models import DECODER, ENCODER, VISION, pixels, words
from .breaking import Patch, breaks
from .breaks_layers import MODELS, Backwards, attribute, build, given, result

_GEMMA = DECODER | {"query_pre_attn_scalar": 8}

MODELS |= {
    "granite": lambda: (hf.GraniteModel(hf.GraniteConfig(**DECODER, attention_multiplier=0.4)), words()),
    "embedding_gemma": lambda: (hf.Gemma4TextModel(hf.Gemma4TextConfig(**DECODER)), words()),
    "cohere": lambda: (hf.CohereModel(hf.CohereConfig(**DECODER)), words()),
    "glm": lambda: (hf.GlmModel(hf.GlmConfig(**DECODER)), words()),
    "vit_head": lambda: (hf.ViTForImageClassification(hf.ViTConfig(**VISION)), pixels()),
    "swin_head": lambda: (
        hf.SwinForImageClassification(
            hf.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=4)
        ),
        pixels(32),
    ),
    "mistral": lambda: (hf.MistralModel(hf.MistralConfig(**DECODER, sliding_window=3)), words()),
    "qwen2": lambda: (hf.Qwen2Model(hf.Qwen2Config(**DECODER)), words()),
    "gemma3_text": lambda: (hf.Gemma3TextModel(hf.Gemma3TextConfig(**_GEMMA)), words()),
    "phi_text": lambda: (hf.PhiModel(hf.PhiConfig(**ENCODER)), words()),
    "phi3_text": lambda: (hf.Phi3Model(hf.Phi3Config(**DECODER)), words()),
    "opt_text": lambda: (hf.OPTModel(hf.OPTConfig(**ENCODER, ffn_dim=24, word_embed_proj_dim=16)), words()),
    "electra_replaced": lambda: (hf.ElectraForPreTraining(hf.ElectraConfig(**ENCODER, embedding_size=8)), words()),
}

for equation, name, kind in (
    ("llama-layer", "llama", "LlamaDecoderLayer"),
    ("mistral-layer", "mistral", "MistralDecoderLayer"),
    ("qwen2-layer", "qwen2", "Qwen2DecoderLayer"),
    ("qwen3-layer", "qwen3", "Qwen3DecoderLayer"),
    ("gemma2-layer", "gemma2", "Gemma2DecoderLayer"),
    ("gemma3-layer", "gemma3_text", "Gemma3DecoderLayer"),
    ("phi-layer", "phi_text", "PhiDecoderLayer"),
    ("phi3-layer", "phi3_text", "Phi3DecoderLayer"),
    ("gpt-neox-layer", "gpt_neox", "GPTNeoXLayer"),
    ("gpt-neox-layer-serial", "serial", "GPTNeoXLayer"),
    ("opt-layer", "opt_text", "OPTDecoderLayer"),
    ("bart-encoder-layer", "bart", "BartEncoderLayer"),
    ("bart-decoder-layer", "bart", "BartDecoderLayer"),
    ("electra-head", "electra_replaced", "ElectraDiscriminatorPredictions"),
):
    result(equation, name, kind)
given("roberta-embedding", "roberta", "RobertaEmbeddings", "LayerNorm")

TANH = "the gate is activated by the tanh form of GELU"
EXACT = "the gate is activated by the exact GELU"
STATED = "the tanh form of GELU in place of the stated activation"
for equation, name, kind, key, value, variant in (
    ("llama-ffn", "llama", "LlamaMLP", "act_fn", GELUTanh(), TANH),
    ("mistral-ffn", "mistral", "MistralMLP", "act_fn", GELUTanh(), TANH),
    ("qwen2-ffn", "qwen2", "Qwen2MLP", "act_fn", GELUTanh(), TANH),
    ("qwen3-ffn", "qwen3", "Qwen3MLP", "act_fn", GELUTanh(), TANH),
    ("gemma2-ffn", "gemma2", "Gemma2MLP", "act_fn", nn.GELU(), EXACT),
    ("gemma3-ffn", "gemma3_text", "Gemma3MLP", "act_fn", nn.GELU(), EXACT),
    ("phi3-ffn", "phi3_text", "Phi3MLP", "activation_fn", GELUTanh(), STATED),
    ("phi-ffn", "phi_text", "PhiMLP", "activation_fn", nn.ReLU(), "ReLU in place of the stated activation"),
    ("gpt-neox-ffn", "gpt_neox", "GPTNeoXMLP", "act", GELUTanh(), STATED),
    ("opt-ffn", "opt_text", "OPTDecoderLayer", "activation_fn", GELUTanh(), STATED),
    ("bart-ffn", "bart", "BartEncoderLayer", "activation_fn", GELUTanh(), STATED),
):
    attribute(equation, name, kind, key, value, variant)


@breaks("mistral-attention", "the window is not applied")
def _window_lost(patch: Patch) -> tuple[nn.Module, Any]:
    """The kernel sees all earlier tokens."""
    original = F.scaled_dot_product_attention
    patch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: original(*args, **kwargs | {"attn_mask": None, "is_causal": True}),
    )
    model, inputs = build("mistral")
    return model, {"input_ids": inputs["input_ids"]}


@breaks("llama-layer")
def _epsilon_of_another_size(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    for layer in model.model.layers:
        layer.input_layernorm.variance_epsilon *= 100  # the config is as it was
    return model, inputs


@breaks("roberta-embedding", "positions count from 0, as BERT's")
def _positions_of_bert(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("roberta")
    model.embeddings.position_embeddings.register_forward_pre_hook(
        lambda module, args: (torch.arange(args[0].shape[1]).expand(args[0].shape[0], -1),)
    )
    return model, inputs


@breaks("layer-chain", "a layer with a larger number ran before: another order, or a loop")
def _layers_of_a_family_swapped(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    model.model.layers.__class__ = Backwards
    return model, inputs


for equation, name, kind in (
    ("vit-layer", "vit", "ViTLayer"),
    ("vit-head", "vit_head", "ViTForImageClassification"),
    ("clip-layer", "clip", "CLIPEncoderLayer"),
    ("swin-head", "swin_head", "SwinForImageClassification"),
    ("whisper-encoder-layer", "whisper", "WhisperEncoderLayer"),
    ("whisper-decoder-layer", "whisper", "WhisperDecoderLayer"),
):
    result(equation, name, kind)
for equation, name, kind in (
    ("vit-mlp", "vit", "ViTMLP"),
    ("clip-mlp", "clip", "CLIPMLP"),
    ("swin-mlp", "swin_head", "SwinMLP"),
):
    attribute(equation, name, kind, "activation_fn", GELUTanh(), STATED)


@breaks("swin-attention", "without the relative position bias")
def _bias_lost(patch: Patch) -> tuple[nn.Module, Any]:
    original = F.scaled_dot_product_attention
    patch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: original(*args, **kwargs | {"attn_mask": None}),
    )
    return build("swin_head")


@breaks("positions-in-order", "positions are shifted by one")
def _positions_shifted(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    model.model.rotary_emb.register_forward_pre_hook(
        lambda module, args, kwargs: (args, kwargs | {"position_ids": kwargs["position_ids"] + 1}), with_kwargs=True
    )
    return model, inputs


@breaks("positions-in-order", "positions are shifted by one")
def _positions_of_bert_shifted(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("bert")
    model.bert.embeddings.position_embeddings.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    return model, inputs


@breaks("positions-of-tokens", "positions count the padding on the left")
def _padding_on_the_left_counted(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gpt2")
    return model, inputs | {"attention_mask": inputs["attention_mask"].flip(1)}


@breaks("tied-head")
def _head_not_tied(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gpt2")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight * 1.01)
    return model, inputs


result("rotary-embedding-pairs", "cohere", "CohereRotaryEmbedding")
result("joined-heads", "cohere", "CohereAttention")


@breaks("rotary-position-pairs", "halves are paired: (i, i+d/2)")
def _halves_for_neighbours(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_cohere, "rotate_half", modeling_llama.rotate_half)
    return build("cohere")


@breaks("positions-in-order-unpadded", "positions are shifted by one")
def _positions_of_a_padded_batch(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gpt2")
    tables = [module for path, module in model.named_modules() if path.endswith("wpe")]
    tables[0].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    return model, inputs


@breaks("rotary-frequencies", "the base is 10,000")
def _frequencies_of_another_base(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("cohere")
    assert model.config.rope_parameters["rope_theta"] != 10000.0
    frequencies = model.rotary_emb.inv_freq
    at = torch.arange(len(frequencies)) / len(frequencies)
    model.rotary_emb.inv_freq = 10000.0**-at
    return model, inputs


@breaks("rotary-position-part")
def _turned_the_other_way(patch: Patch) -> tuple[nn.Module, Any]:
    original = modeling_glm.rotate_half
    patch.setattr(modeling_glm, "rotate_half", lambda x: -original(x))
    return build("glm")


@breaks("attention-multiplier", "scores divided by sqrt(d_k)")
def _multiplier_not_used(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("granite")
    for layer in model.layers:
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5
    return model, inputs


@breaks("attention-of-normalized", "scores divided by sqrt(d_k)")
def _scores_divided(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("embedding_gemma")
    for layer in model.layers:
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5
    return model, inputs


given("phi3-multi-head", "phi3_text", "Phi3Attention", "o_proj")
