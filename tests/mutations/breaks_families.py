"""Families broken: each of their equations sees what its model does otherwise than its paper and configuration say."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import nn
from transformers.integrations import sdpa_attention
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.kosmos2.configuration_kosmos2 import Kosmos2TextConfig
from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2TextModel
from transformers.models.mixtral import modeling_mixtral
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLVisionRotaryEmbedding

from ..support.zoo_models import DECODER, ENCODER, pixels, words
from .breaking import Patch, breaks, in_place
from .breaks_layers import MODELS, build, given, modules, result


def places() -> dict[str, torch.Tensor]:
    """Words, each with a position in time, in a row and in a column."""
    found = words(padded=False)
    return found | {"position_ids": torch.randint(0, 9, (3, *found["input_ids"].shape))}


SMALL = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8}
MODELS |= {
    "electra": lambda: (hf.ElectraForMaskedLM(hf.ElectraConfig(**ENCODER, embedding_size=16)), words()),
    "bert_mlm": lambda: (hf.BertForMaskedLM(hf.BertConfig(**ENCODER)), words()),
    "roberta_mlm": lambda: (hf.RobertaForMaskedLM(hf.RobertaConfig(**ENCODER, pad_token_id=0)), words()),
    "roberta_cls": lambda: (hf.RobertaForSequenceClassification(hf.RobertaConfig(**ENCODER, pad_token_id=0)), words()),
    "distilbert": lambda: (hf.DistilBertModel(hf.DistilBertConfig(
        vocab_size=60, dim=16, hidden_dim=24, n_layers=2, n_heads=2)), words()),
    "deberta": lambda: (hf.DebertaModel(hf.DebertaConfig(**ENCODER)), words()),
    "opt": lambda: (hf.OPTModel(hf.OPTConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24,
        max_position_embeddings=64, word_embed_proj_dim=16)), words()),
    "phi": lambda: (hf.PhiModel(hf.PhiConfig(**ENCODER)), words()),
    "phi4heads": lambda: (hf.PhiModel(hf.PhiConfig(**ENCODER | {"num_attention_heads": 4})), words()),
    "gpt_oss": lambda: (
        hf.GptOssModel(hf.GptOssConfig(**DECODER, num_local_experts=2, num_experts_per_tok=1)),
        words(),
    ),
    "deberta_mlm": lambda: (hf.DebertaForMaskedLM(hf.DebertaConfig(**ENCODER)), words()),
    "deepseek_v3": lambda: (hf.DeepseekV3Model(hf.DeepseekV3Config(
        **(ENCODER | {"num_key_value_heads": 2} | SMALL), n_routed_experts=4, n_group=2, topk_group=1,
        num_experts_per_tok=2, moe_intermediate_size=8, first_k_dense_replace=1)), words()),
    "modernbert": lambda: (hf.ModernBertModel(hf.ModernBertConfig(
        **ENCODER, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)), words()),
    "dinov2": lambda: (hf.Dinov2Model(hf.Dinov2Config(
        image_size=16, patch_size=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)), pixels()),
    "granite_half": lambda: (hf.GraniteModel(hf.GraniteConfig(**ENCODER, residual_multiplier=0.5)), words()),
    "convnextv2": lambda: (hf.ConvNextV2Model(hf.ConvNextV2Config(
        image_size=16, patch_size=2, hidden_sizes=[4, 8], depths=[1, 1], num_stages=2)), pixels()),
    "gemma3": lambda: (hf.Gemma3TextModel(hf.Gemma3TextConfig(**DECODER)), words()),
    "olmo2": lambda: (hf.Olmo2Model(hf.Olmo2Config(**DECODER)), words()),
    "qwen3_next": lambda: (hf.Qwen3NextModel(hf.Qwen3NextConfig(
        **DECODER, layer_types=["full_attention"] * 2, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8,
        shared_expert_intermediate_size=8)), words()),
    "qwen2_vl": lambda: (hf.Qwen2VLTextModel(hf.Qwen2VLTextConfig(
        **DECODER, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]})), places()),
    "qwen3_vl": lambda: (hf.Qwen3VLTextModel(hf.Qwen3VLTextConfig(
        **DECODER, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]})), places()),
    "glm4v": lambda: (hf.Glm4vTextModel(hf.Glm4vTextConfig(
        **DECODER, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]})), places()),
    "axial": lambda: (Qwen2VLVisionRotaryEmbedding(hf.Qwen2VLVisionConfig(embed_dim=16, num_heads=2)), {
        "x": torch.randn(5, 8), "position_ids": torch.randint(0, 9, (5, 2))}),
    "kosmos2": lambda: (Kosmos2TextModel(Kosmos2TextConfig(
        vocab_size=60, embed_dim=16, layers=2, ffn_dim=24, attention_heads=2, max_position_embeddings=64)), words()),
    "swin_deep": lambda: (hf.SwinModel(hf.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)), pixels()),
}  # fmt: skip

for equation, name, kind in (
    ("t5-multi-head", "t5", "T5Attention"),
    ("t5-sublayer", "t5", "T5LayerFF"),
    ("t5-block", "t5", "T5Block"),
    ("mixture-of-experts", "mixtral", "MixtralSparseMoeBlock"),
    ("shared-experts", "deepseek_v3", "DeepseekV3MoE"),
    ("latent-attention", "deepseek_v3", "DeepseekV3Attention"),
    ("scaled-embedding", "gemma2", "Gemma2TextScaledWordEmbedding"),
    ("learned-positions-in-order", "bart", "BartLearnedPositionalEmbedding"),
    ("opt-layer", "opt", "OPTDecoderLayer"),
    ("partial-rotary-attention", "phi", "PhiAttention"),
    ("rotary-attention-heads-norm", "gemma3", "Gemma3Attention"),
    ("rotary-attention-whole-norm", "olmo2", "Olmo2Attention"),
    ("gated-attention", "qwen3_next", "Qwen3NextAttention"),
    ("scaled-residual-layer", "granite_half", "GraniteDecoderLayer"),
    ("pre-norm-layer", "kosmos2", "Kosmos2TextBlock"),
    ("pre-norm-layer", "modernbert", "ModernBertEncoderLayer"),
    ("pre-norm-layer", "dinov2", "Dinov2Layer"),
    ("sandwich-norm-layer", "glm4v", "Glm4vTextDecoderLayer"),
    ("convnext-v2-layer", "convnextv2", "ConvNextV2Layer"),
    ("neox-attention", "gpt_neox", "GPTNeoXAttention"),
    ("sub-norm-attention", "kosmos2", "KosmosTextAttention"),
    ("sub-norm-ffn", "kosmos2", "Kosmos2TextFFN"),
    ("rotary-embedding-axial", "axial", "Qwen2VLVisionRotaryEmbedding"),
    ("rotary-embedding-sections", "qwen2_vl", "Qwen2VLRotaryEmbedding"),
    ("rotary-embedding-sections-pairs", "glm4v", "Glm4vTextRotaryEmbedding"),
    ("rotary-embedding-interleaved-sections", "qwen3_vl", "Qwen3VLTextRotaryEmbedding"),
    ("albert-attention", "albert", "AlbertAttention"),
    ("albert-layer", "albert", "AlbertLayer"),
    ("albert-stack", "albert", "AlbertLayerGroup"),
    ("distilbert-layer", "distilbert", "TransformerBlock"),
    ("deberta-layer-norm", "deberta", "DebertaLayerNorm"),
    ("prediction-transform", "bert_mlm", "BertPredictionHeadTransform"),
    ("masked-lm-head", "roberta_mlm", "RobertaLMHead"),
    ("electra-generator-head", "electra", "ElectraGeneratorPredictions"),
    ("classification-head", "roberta_cls", "RobertaClassificationHead"),
    ("encoder-decoder-model", "bart", "BartModel"),
    ("decoder-model", "opt", "OPTModel"),
    ("two-embeddings", "clip", "CLIPTextEmbeddings"),
    ("model-with-head", "roberta_mlm", "RobertaForMaskedLM"),
    ("patch-embedding", "vit", "ViTPatchEmbeddings"),
    ("vision-model", "clip", "CLIPVisionModel"),
    ("convnext-layer", "convnext", "ConvNextLayer"),
    ("convnext-model", "convnext", "ConvNextModel"),
    ("convnext-stage", "convnext", "ConvNextStage"),
    ("norm-of-patches", "convnext", "ConvNextEmbeddings"),
    ("siglip-embedding", "siglip", "SiglipVisionEmbeddings"),
    ("attention-pooling", "siglip", "SiglipMultiheadAttentionPoolingHead"),
    ("swin-layer", "swin", "SwinLayer"),
    ("swin-position-bias", "swin", "SwinRelativePositionBias"),
    ("patch-merging", "swin", "SwinPatchMerging"),
    ("swin-stage", "swin", "SwinStage"),
    ("whisper-encoder", "whisper", "WhisperEncoder"),
    ("whisper-positions", "whisper", "WhisperPositionalEmbedding"),
    ("conv-activation", "wav2vec2", "Wav2Vec2NoLayerNormConvLayer"),
    ("feature-encoder", "wav2vec2", "Wav2Vec2FeatureEncoder"),
    ("feature-projection", "wav2vec2", "Wav2Vec2FeatureProjection"),
    ("same-pad", "wav2vec2", "Wav2Vec2SamePadLayer"),
    ("convolutional-position", "wav2vec2", "Wav2Vec2PositionalConvEmbedding"),
    ("wav2vec2-layer", "wav2vec2", "Wav2Vec2EncoderLayer"),
    ("wav2vec2-model", "wav2vec2", "Wav2Vec2Model"),
    ("mamba-mixer", "mamba", "MambaMixer"),
    ("mamba-block", "mamba", "MambaBlock"),
):
    result(equation, name, kind)
given("sub-norm-attention", "kosmos2", "KosmosTextAttention", "inner_attn_ln")
given("sub-norm-ffn", "kosmos2", "Kosmos2TextFFN", "ffn_layernorm")
given("t5-head", "t5", "T5ForConditionalGeneration", "lm_head")
given("head-of-two-parts", "deberta_mlm", "LegacyDebertaLMPredictionHead", "decoder")
given("wav2vec2-encoder", "wav2vec2", "Wav2Vec2Encoder", "layer_norm")
given("whisper-encoder", "whisper", "WhisperEncoder", "conv2")
given("mamba-mixer", "mamba", "MambaMixer", "x_proj")


def kernel(patch: Patch, **changes: Any) -> None:
    """The fused kernel computes with other arguments than it was given."""
    fused = torch.nn.functional.scaled_dot_product_attention
    patch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: fused(*args, **kwargs | changes),
    )


def _sections(equation: str, name: str) -> None:
    """The frequencies are cut otherwise than the configuration states."""

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = build(name)
        model.rotary_emb.mrope_section = [2, 0, 2]
        return model, inputs

    breaks(equation)(broken)


_sections("rotary-embedding-sections", "qwen2_vl")
_sections("rotary-embedding-sections-pairs", "glm4v")
_sections("rotary-embedding-interleaved-sections", "qwen3_vl")


@breaks("scaled-residual-layer", "the branches are added as they are")
def _branches_not_scaled(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("granite_half")
    for module in modules(model, "GraniteDecoderLayer"):
        module.residual_multiplier = 1.0
    return model, inputs


@breaks("t5-attention", "scores divided by sqrt(d_k), as Vaswani et al. do")
def _t5_scaled(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("t5")
    for module in modules(model, "T5Attention"):
        module.scaling = module.key_value_proj_dim**-0.5
    return model, inputs


@breaks("t5-attention")
def _t5_half_the_bias(patch: Patch) -> tuple[nn.Module, Any]:
    mask = sdpa_attention.create_position_bias_mask
    patch.setattr(sdpa_attention, "create_position_bias_mask", lambda bias, *rest: mask(bias / 2, *rest))
    return build("t5")


@breaks("attention-scaled-queries")
def _opt_scaled_in_the_kernel(patch: Patch) -> tuple[nn.Module, Any]:
    kernel(patch, scale=1.03)
    return build("opt")


@breaks("gemma-attention", "scores divided by sqrt(d_k)")
def _gemma_scale(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gemma2")
    model.config.query_pre_attn_scalar = 2
    for module in modules(model, "Gemma2Attention"):
        module.scaling = module.head_dim**-0.5
    return model, inputs


@breaks("gemma-attention")
def _gemma_scale_off_by_three_percent(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gemma2")
    for module in modules(model, "Gemma2Attention"):
        module.scaling *= 1.03
    return model, inputs


@breaks("attention-sinks", "without sinks")
def _no_sinks(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gpt_oss")
    for module in modules(model, "GptOssAttention"):
        nn.init.normal_(module.sinks)

    def eager(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **_: Any) -> Any:
        key, value = (x.repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
        scores = query @ key.transpose(2, 3) * scaling
        weights = (scores if attention_mask is None else scores + attention_mask).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    from transformers.models.gpt_oss import modeling_gpt_oss as there

    in_place(patch, there, "eager_attention_forward", eager)
    model.set_attn_implementation("eager")
    return model, inputs


@breaks("scaled-embedding", "not multiplied by sqrt(d_model)")
def _embedding_not_scaled(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(
        modeling_gemma2.Gemma2TextScaledWordEmbedding, "forward", lambda self, input_ids: self.weight[input_ids]
    )
    return build("gemma2")


@breaks("soft-capped-head", "not soft-capped")
def _logits_not_capped(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("gemma2")
    model.lm_head.weight.mul_(300)

    def uncapped(module: Any, args: Any, kwargs: Any, out: Any) -> Any:
        out.logits = module.lm_head(module.model(**inputs).last_hidden_state)
        return out

    model.register_forward_hook(uncapped, with_kwargs=True)
    return model, inputs


@breaks("learned-positions", "positions are shifted by one")
def _positions_shifted(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("opt")
    for module in modules(model, "OPTLearnedPositionalEmbedding"):
        module.weight.add_(torch.randn_like(module.weight))
        patch.setattr(type(module), "forward", lambda self, mask, past=0, position_ids=None: nn.functional.embedding(
            position_ids + self.offset + 1, self.weight))  # fmt: skip
    return model, inputs


@breaks("top-k-router", "the weights are not normalized to sum to 1")
def _weights_not_normalized(patch: Patch) -> tuple[nn.Module, Any]:
    def forward(self: Any, hidden_states: torch.Tensor) -> Any:
        logits = nn.functional.linear(hidden_states.reshape(-1, self.hidden_dim), self.weight)
        weights, index = logits.softmax(-1).topk(self.top_k, -1)
        return logits, weights, index

    patch.setattr(modeling_mixtral.MixtralTopKRouter, "forward", forward)
    return build("mixtral")


@breaks("sigmoid-router")
def _router_factor(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("deepseek_v3")
    for module in modules(model, "DeepseekV3TopkRouter"):
        module.routed_scaling_factor = 1.7
    return model, inputs


@breaks("vit-embedding", "no position embeddings")
def _no_positions(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("vit")
    nn.init.normal_(model.embeddings.position_embeddings)
    patch.setattr(type(model.embeddings), "forward", lambda self, pixel_values, **_: torch.cat(
        (self.cls_token.expand(len(pixel_values), -1, -1), self.patch_embeddings(pixel_values)), 1))  # fmt: skip
    return model, inputs


@breaks("clip-logits", "without the temperature")
def _no_temperature(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("clip")

    def cold(module: Any, args: Any, out: Any) -> Any:
        out.logits_per_text = out.logits_per_text / module.logit_scale.exp()
        return out

    model.register_forward_hook(cold)
    return model, inputs
