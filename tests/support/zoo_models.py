"""Small models of transformers with random weights, each made anew and always alike: the plain and the odd ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf

WORDS = 60
ENCODER: dict[str, Any] = {
    "vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 64,
}  # fmt: skip
DECODER = ENCODER | {"num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
EXPERTS = DECODER | {"num_experts_per_tok": 2}
BOTH_SIDES: dict[str, Any] = {
    "vocab_size": WORDS, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip

Built = tuple[Any, dict[str, Any]]  # Any: to a type checker each part of a module may be a tensor
ZOO: dict[str, Callable[[], Built]] = {}


def entry(make: Callable[[], Built]) -> Callable[[], Built]:
    ZOO[make.__name__] = make
    return make


def build(name: str) -> Built:
    """A model of the zoo in evaluation mode and its inputs; the same numbers every time."""
    torch.manual_seed(11)
    model, inputs = ZOO[name]()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms are born 0 and 1
            if parameter.is_floating_point() and parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    torch.manual_seed(12)
    return model.eval(), inputs


def words(length: int = 7, padded: bool = True) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, WORDS, (2, length))
    mask = torch.ones_like(ids)
    if padded:
        mask[1, length - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def translation() -> dict[str, torch.Tensor]:
    return words() | {"decoder_input_ids": torch.randint(3, WORDS, (2, 4))}


def pixels(size: int = 16) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(2, 3, size, size)}


# -- text: encoders --------------------------------------------------------------------------------


@entry
def bert() -> Built:
    return hf.BertForSequenceClassification(hf.BertConfig(**ENCODER)), words()


@entry
def albert() -> Built:
    """One layer with all below it, called once for each of the layers."""
    return hf.AlbertModel(hf.AlbertConfig(**ENCODER | {"embedding_size": 8, "num_hidden_layers": 3})), words()


@entry
def squeezebert() -> Built:
    """Calls `.forward` of its submodules directly."""
    return hf.SqueezeBertModel(hf.SqueezeBertConfig(**ENCODER, embedding_size=16)), words()


@entry
def big_bird() -> Built:
    """Finds the text too short for block-sparse attention and replaces its submodules while it runs."""
    config = hf.BigBirdConfig(**ENCODER, attention_type="block_sparse", block_size=4, num_random_blocks=1)
    return hf.BigBirdModel(config), words()


@entry
def deberta_v2() -> Built:
    config = hf.DebertaV2Config(
        **ENCODER, relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8, norm_rel_ebd="layer_norm"
    )
    return hf.DebertaV2Model(config), words()


@entry
def longformer() -> Built:
    return hf.LongformerModel(hf.LongformerConfig(**ENCODER, attention_window=4)), words(8)


@entry
def funnel() -> Built:
    config = hf.FunnelConfig(
        vocab_size=WORDS, d_model=16, n_head=2, d_head=8, d_inner=24, block_sizes=[1, 1], num_decoder_layers=1
    )
    return hf.FunnelModel(config), words(8)


@entry
def xlnet() -> Built:
    return hf.XLNetModel(hf.XLNetConfig(vocab_size=WORDS, d_model=16, n_layer=2, n_head=2, d_inner=24)), words()


@entry
def xlm() -> Built:
    """One activation under the feed-forward part of every layer."""
    return hf.XLMModel(
        hf.XLMConfig(vocab_size=WORDS, emb_dim=16, n_layers=2, n_heads=2, max_position_embeddings=64)
    ), words()


# -- text: decoders --------------------------------------------------------------------------------


@entry
def gpt2() -> Built:
    config = hf.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    return hf.GPT2LMHeadModel(config), words()


@entry
def openai_gpt() -> Built:
    return hf.OpenAIGPTModel(
        hf.OpenAIGPTConfig(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    ), words()


@entry
def gpt_neox() -> Built:
    return hf.GPTNeoXModel(hf.GPTNeoXConfig(**ENCODER)), words()


@entry
def llama() -> Built:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**DECODER)), words()


@entry
def gemma2() -> Built:
    config = hf.Gemma2Config(**DECODER, sliding_window=4, query_pre_attn_scalar=8)
    return hf.Gemma2ForCausalLM(config), words()


@entry
def gemma3n() -> Built:
    """Calls `.forward` of itself directly, and methods of submodules that are no forward."""
    config = hf.Gemma3nTextConfig(
        **DECODER | {"intermediate_size": [24, 24]}, vocab_size_per_layer_input=WORDS, hidden_size_per_layer_input=8,
        num_kv_shared_layers=0, laurel_rank=4, altup_num_inputs=2, activation_sparsity_pattern=[0.5, 0.0],
        layer_types=["sliding_attention", "full_attention"], sliding_window=4,
    )  # fmt: skip
    return hf.Gemma3nForCausalLM(config), words()


@entry
def falcon() -> Built:
    config = hf.FalconConfig(vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    return hf.FalconForCausalLM(config), words()


@entry
def bloom() -> Built:
    return hf.BloomForCausalLM(hf.BloomConfig(vocab_size=WORDS, hidden_size=16, n_layer=2, n_head=2)), words()


@entry
def mixtral() -> Built:
    return hf.MixtralForCausalLM(hf.MixtralConfig(**EXPERTS, num_local_experts=4)), words()


@entry
def qwen3_moe() -> Built:
    return hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**EXPERTS, num_experts=4, moe_intermediate_size=12)), words()


@entry
def mamba() -> Built:
    config = hf.MambaConfig(vocab_size=WORDS, hidden_size=16, state_size=4, num_hidden_layers=2)
    return hf.MambaForCausalLM(config), words(padded=False)


@entry
def rwkv() -> Built:
    config = hf.RwkvConfig(
        vocab_size=WORDS, context_length=32, hidden_size=16, attention_hidden_size=16, num_hidden_layers=2,
        intermediate_size=24,
    )  # fmt: skip
    return hf.RwkvModel(config), words(padded=False)


# -- text: both ------------------------------------------------------------------------------------


@entry
def t5() -> Built:
    config = hf.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    return hf.T5ForConditionalGeneration(config), translation()


@entry
def marian() -> Built:
    return hf.MarianMTModel(hf.MarianConfig(**BOTH_SIDES)), translation()


@entry
def bart() -> Built:
    return hf.BartModel(hf.BartConfig(**BOTH_SIDES)), translation()


# -- pictures, sound -------------------------------------------------------------------------------


@entry
def vit() -> Built:
    return hf.ViTModel(hf.ViTConfig(**VISION)), pixels()


@entry
def convnext() -> Built:
    config = hf.ConvNextConfig(depths=[1, 1, 2, 1], hidden_sizes=[4, 8, 8, 16])
    return hf.ConvNextModel(config), pixels(32)


@entry
def swin() -> Built:
    config = hf.SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4)
    return hf.SwinModel(config), pixels()


@entry
def hgnet_v2() -> Built:
    """One identity stands under many parents, and outputs are changed in place after they were returned."""
    config = hf.HGNetV2Config(
        stem_channels=[3, 4, 6], stage_in_channels=[6, 8], stage_mid_channels=[4, 4], stage_out_channels=[8, 12],
        stage_num_blocks=[1, 2], stage_downsample=[False, True], stage_light_block=[False, True],
        stage_kernel_size=[3, 3], stage_numb_of_layers=[2, 2], hidden_sizes=[8, 12], depths=[1, 2], embedding_size=6,
    )  # fmt: skip
    return hf.HGNetV2ForImageClassification(config), pixels(32)


@entry
def slanet() -> Built:
    """Calls one cell hundreds of times."""
    config = hf.SLANetConfig(
        post_conv_out_channels=8, out_channels=6, hidden_size=8, max_text_length=120,
        backbone_config={"model_type": "pp_lcnet", "scale": 0.25, "divisor": 4, "out_indices": [2, 3, 4, 5]},
    )  # fmt: skip
    return hf.SLANetForTableRecognition(config), {"pixel_values": torch.randn(1, 3, 64, 64)}


@entry
def timesformer() -> Built:
    return hf.TimesformerModel(hf.TimesformerConfig(**VISION, num_frames=2)), {
        "pixel_values": torch.randn(1, 2, 3, 16, 16)
    }


@entry
def clip() -> Built:
    text = ENCODER | {"projection_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
    config = hf.CLIPConfig(text_config=text, vision_config=VISION | {"projection_dim": 8}, projection_dim=8)
    return hf.CLIPModel(config), words() | pixels()


@entry
def siglip() -> Built:
    """Its head is torch's own nn.MultiheadAttention, whose `out_proj` is used but never called."""
    return hf.SiglipVisionModel(hf.SiglipVisionConfig(**VISION)), pixels()


@entry
def whisper() -> Built:
    sizes = {key: value for key, value in BOTH_SIDES.items() if key != "max_position_embeddings"}
    config = hf.WhisperConfig(
        **sizes, num_mel_bins=8, max_source_positions=10, max_target_positions=16, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    ids = torch.randint(3, WORDS, (2, 4))
    return hf.WhisperModel(config), {"input_features": torch.randn(2, 8, 20), "decoder_input_ids": ids}


@entry
def wav2vec2() -> Built:
    config = hf.Wav2Vec2Config(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        conv_dim=[8, 8, 8], conv_stride=[5, 4, 2], conv_kernel=[10, 6, 3], num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    return hf.Wav2Vec2Model(config), {"input_values": torch.randn(2, 800)}
