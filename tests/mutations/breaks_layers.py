"""Layers and their parts broken where the parts are put together: what one returned is not what the next was given, or
what came of them is not what the layer returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
import transformers as hf
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import ParametrizationList
from transformers.activations import GELUActivation, SiLUActivation
from transformers.models.deberta import modeling_deberta
from transformers.models.deberta_v2 import modeling_deberta_v2
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetFinalBlockLayer
from transformers.models.flava import modeling_flava
from transformers.models.flava.modeling_flava import FlavaOutput
from transformers.models.llama import modeling_llama
from transformers.models.nemotron import modeling_nemotron
from transformers.models.olmo import modeling_olmo
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed
from transformers.models.sam.modeling_sam import SamPatchEmbeddings
from transformers.utils import ModelOutput

from ..support.zoo_models import BOTH_SIDES, DECODER, ENCODER, VISION, Built, pixels, translation, words
from ..support.zoo_models import build as of_zoo
from .breaking import Patch, breaks

RELATIVE = ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "initializer_range": 0.5}
MODELS: dict[str, Callable[[], Built]] = {
    "mbart": lambda: (hf.MBartModel(hf.MBartConfig(**BOTH_SIDES)), translation()),
    "roberta": lambda: (hf.RobertaModel(hf.RobertaConfig(**ENCODER, pad_token_id=0)), words()),
    "llama_linear": lambda: (
        hf.LlamaModel(
            hf.LlamaConfig(**DECODER, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0})
        ),
        words(),
    ),
    "olmo2": lambda: (hf.Olmo2Model(hf.Olmo2Config(**DECODER)), words()),
    "olmo": lambda: (hf.OlmoModel(hf.OlmoConfig(**DECODER)), words()),
    "afmoe": lambda: (
        hf.AfmoeModel(hf.AfmoeConfig(**DECODER, num_dense_layers=2, layer_types=["full_attention"] * 2)),
        words(),
    ),
    "camembert": lambda: (hf.CamembertModel(hf.CamembertConfig(**ENCODER, pad_token_id=0)), words()),
    "gptj": lambda: (
        hf.GPTJModel(hf.GPTJConfig(vocab_size=60, n_positions=64, n_embd=16, n_layer=2, n_head=2, rotary_dim=4)),
        words(),
    ),
    "plbart": lambda: (hf.PLBartModel(hf.PLBartConfig(**BOTH_SIDES)), translation()),
    "nemotron": lambda: (hf.NemotronModel(hf.NemotronConfig(**DECODER)), words()),
    "starcoder2": lambda: (hf.Starcoder2Model(hf.Starcoder2Config(**DECODER)), words()),
    "qwen3": lambda: (hf.Qwen3Model(hf.Qwen3Config(**DECODER)), words()),
    "serial": lambda: (hf.GPTNeoXModel(hf.GPTNeoXConfig(**ENCODER, use_parallel_residual=False)), words()),
    "flava": lambda: (hf.FlavaImageModel(hf.FlavaImageConfig(**VISION)), pixels()),
    "deberta_relative": lambda: (hf.DebertaV2Model(hf.DebertaV2Config(**RELATIVE)), words()),
    "deberta_joint": lambda: (hf.DebertaModel(hf.DebertaConfig(**RELATIVE)), words()),
    "timesfm": lambda: (
        hf.TimesFm2_5Model(
            hf.TimesFm2_5Config(
                patch_length=8,
                context_length=32,
                horizon_length=8,
                num_hidden_layers=1,
                hidden_size=16,
                head_dim=8,
                intermediate_size=24,
                num_attention_heads=2,
                num_key_value_heads=2,
            )
        ),
        {"past_values": torch.randn(2, 32), "past_values_padding": torch.zeros(2, 32, dtype=torch.long)},
    ),
    "efficientnet": lambda: (
        hf.EfficientNetModel(hf.EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128)),
        pixels(32),
    ),
}

Change = Callable[[torch.Tensor], torch.Tensor]


def build(name: str) -> Built:
    """A model in evaluation mode and its inputs, always alike."""
    if name not in MODELS:
        return of_zoo(name)
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    return model.eval(), inputs


def more(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * 1.001 + 1e-3


def changed(value: Any, change: Change) -> Any:
    """The first tensor of a result changed, the rest as it is."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, ModelOutput):
        name = next(iter(value))
        value[name] = change(value[name])
        return value
    return (change(value[0]), *value[1:])


def modules(model: nn.Module, kind: str) -> list[Any]:
    found = [m for m in model.modules() if type(m).__name__ == kind]
    assert found, kind
    return found


def result(equation: str, name: str, kind: str, change: Change = more, variant: str | None = None) -> None:
    """What modules of class `kind` return is changed on the way out."""

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = build(name)
        for module in modules(model, kind):
            module.register_forward_hook(lambda m, args, out: changed(out, change))
        return model, inputs

    breaks(equation, variant)(broken)


def given(equation: str, name: str, kind: str, child: str) -> None:
    """What a part of modules of class `kind` is given is changed on the way in."""

    def pre(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (more(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, kwargs | {first: more(kwargs[first])}

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = build(name)
        for module in modules(model, kind):
            module.get_submodule(child).register_forward_pre_hook(pre, with_kwargs=True)
        return model, inputs

    breaks(equation)(broken)


def attribute(equation: str, name: str, kind: str, key: str, value: Any, variant: str | None) -> None:
    """An attribute of modules of class `kind` is another."""

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        model, inputs = build(name)
        for module in modules(model, kind):
            setattr(module, key, value)
            for parameter in module.parameters():
                parameter.mul_(8)  # wide enough for two activations to part
        return model, inputs

    breaks(equation, variant)(broken)


result("pre-norm-layer", "olmo", "OlmoDecoderLayer")
given("pre-norm-layer", "olmo", "OlmoDecoderLayer", "mlp")
given("pre-norm-layer", "olmo", "OlmoDecoderLayer", "self_attn")
result("sandwich-norm-layer", "afmoe", "AfmoeDecoderLayer")
given("sandwich-norm-layer", "afmoe", "AfmoeDecoderLayer", "post_mlp_layernorm")
result("inner-post-norm-layer", "olmo2", "Olmo2DecoderLayer")
given("inner-post-norm-layer", "olmo2", "Olmo2DecoderLayer", "post_attention_layernorm")
result("parallel-layer", "gptj", "GPTJBlock")
given("post-norm-encoder-layer", "plbart", "PLBartEncoderLayer", "self_attn_layer_norm")
given("post-norm-decoder-layer", "plbart", "PLBartDecoderLayer", "encoder_attn_layer_norm")
given("pre-norm-fc-layer", "mbart", "MBartEncoderLayer", "fc1")
result("pre-norm-fc-layer", "mbart", "MBartEncoderLayer")
result("pre-norm-fc-decoder-layer", "mbart", "MBartDecoderLayer")
given("residual-norm", "roberta", "RobertaSelfOutput", "LayerNorm")
given("attention-block", "roberta", "RobertaAttention", "output")
given("bert-like-layer", "roberta", "RobertaLayer", "intermediate")
attribute("intermediate", "roberta", "RobertaIntermediate", "intermediate_act_fn", nn.ReLU(),
          "ReLU in place of the configuration's activation")  # fmt: skip
result("pooler", "roberta", "RobertaPooler")
given("pooler", "roberta", "RobertaPooler", "dense")
given("embedding-sum", "camembert", "CamembertEmbeddings", "LayerNorm")
attribute("gated-mlp", "olmo", "OlmoMLP", "act_fn", GELUActivation(), "the gate is activated by the exact GELU")
attribute("mlp", "starcoder2", "Starcoder2MLP", "act", SiLUActivation(),
          "SiLU in place of the configuration's activation")  # fmt: skip
given("rotary-attention", "llama", "LlamaAttention", "o_proj")
given("timesfm-attention", "timesfm", "TimesFm2_5Attention", "k_norm")
result("rotary-attention-qk-norm", "qwen3", "Qwen3Attention")
given("multi-head", "bart", "BartAttention", "out_proj")
result("self-attention", "roberta", "RobertaSelfAttention")
result("rotary-embedding", "llama_linear", "LlamaRotaryEmbedding", lambda cos: cos * 1.001)
result("stack", "roberta", "RobertaEncoder")
given("encoder-model", "roberta", "RobertaModel", "encoder")
given("language-model-head", "llama", "LlamaForCausalLM", "lm_head")
given("dense-dropout", "flava", "FlavaSelfOutput", "dropout")
given("conv-norm-act", "hgnet_v2", "HGNetV2ConvLayer", "normalization")
result("squeeze-excite", "efficientnet", "EfficientNetSqueezeExciteLayer")


@breaks("sequential")
def _sequential(patch: Patch) -> tuple[nn.Module, Any]:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model.register_forward_hook(lambda m, args, out: more(out))
    return model, torch.randn(3, 8)


def _residual_left_out(attention: bool) -> Callable[[Patch], tuple[nn.Module, Any]]:
    def forward(self: Any, hidden_states: torch.Tensor, **kwargs: Any) -> Any:
        found, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        found = found if attention else hidden_states + found
        after = self.mlp(self.post_attention_layernorm(found))
        return found + after if attention else after

    def broken(patch: Patch) -> tuple[nn.Module, Any]:
        patch.setattr(modeling_olmo.OlmoDecoderLayer, "forward", forward)
        return build("olmo")

    return broken


breaks("pre-norm-layer", "no residual connection around the attention")(_residual_left_out(True))
breaks("pre-norm-layer", "no residual connection around the feed-forward part")(_residual_left_out(False))


@breaks("rotary-embedding-base", "the base is 10,000")
def _another_base(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    model.config.rope_parameters["rope_theta"] = 500000.0
    return model, inputs


@breaks("rotary-embedding-base", "positions are shifted by one")
def _shifted_positions(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    original = modeling_llama.LlamaRotaryEmbedding.forward

    def forward(self: Any, x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        return original(self, x, position_ids + 1)

    patch.setattr(modeling_llama.LlamaRotaryEmbedding, "forward", forward)
    return model, inputs


@breaks("rotary-position", "turned the other way")
def _turned_the_other_way(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("llama")
    original = modeling_llama.rotate_half
    patch.setattr(modeling_llama, "rotate_half", lambda x: -original(x))
    return model, inputs


@breaks("rotary-position-part-halves", "turned the other way")
def _a_part_turned_the_other_way(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("nemotron")
    original = modeling_nemotron.rotate_half
    patch.setattr(modeling_nemotron, "rotate_half", lambda x: -original(x))
    return model, inputs


@breaks("rotary-position-part-halves")
def _a_part_not_turned_with_its_other_half(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_nemotron, "rotate_half", torch.zeros_like)
    return build("nemotron")


@breaks("patch-grid")
def _grid_of_other_patches(patch: Patch) -> tuple[nn.Module, Any]:
    part = SamPatchEmbeddings(hf.SamVisionConfig(image_size=8, patch_size=2, hidden_size=6))
    patch.setattr(SamPatchEmbeddings, "forward", lambda self, pixels: self.projection(pixels).permute(0, 3, 2, 1))
    return part, torch.randn(2, 3, 8, 8)


@breaks("patch-rows")
def _rows_of_other_patches(patch: Patch) -> tuple[nn.Module, Any]:
    part = Qwen2_5_VisionPatchEmbed(patch_size=2, temporal_patch_size=1, embed_dim=6)
    patch.setattr(Qwen2_5_VisionPatchEmbed, "forward", lambda self, pixels: self.proj(
        pixels.view(-1, 3, 1, 2, 2)).view(-1, 6).flip(0))  # fmt: skip
    return part, torch.randn(5, 12)


class Backwards(nn.ModuleList):
    """Layers that run from the last to the first."""

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(list(self._modules.values())[::-1])

    def __getitem__(self, at: Any) -> Any:
        return list(self) if isinstance(at, slice) else super().__getitem__(at)


@breaks("layer-chain", "a layer with a larger number ran before: another order, or a loop")
def _layers_swapped(patch: Patch) -> tuple[nn.Module, Any]:
    model, inputs = build("olmo")
    model.layers.__class__ = Backwards
    return model, inputs


given("layer-chain", "olmo", "OlmoModel", "layers.1")


@breaks("projected-attention")
def _scores_scaled_otherwise(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_flava, "math", SimpleNamespace(sqrt=lambda size: 1.03 * size**0.5))
    return build("flava")


def _normed(dim: int) -> nn.Module:
    model: nn.Module = parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=dim)
    return model


@breaks("weight-norm")
def _length_left_out(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(parametrizations._WeightNorm, "forward", lambda self, weight_g, weight_v: weight_v * weight_g)
    return _normed(0), torch.randn(2, 4, 9)


@breaks("weight-norm-of-places")
def _norm_of_outputs(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(parametrizations._WeightNorm, "forward", lambda self, weight_g, weight_v: (
        weight_g * weight_v / weight_v.norm(dim=(1, 2), keepdim=True)))  # fmt: skip
    return _normed(2), torch.randn(2, 4, 9)


@breaks("parametrized-weight")
def _weight_changed_after_it_was_made(patch: Patch) -> tuple[nn.Module, Any]:
    made = ParametrizationList.forward
    patch.setattr(ParametrizationList, "forward", lambda self: more(made(self)))
    return _normed(0), torch.randn(2, 4, 9)


@breaks("disentangled-attention", "scores divided by sqrt(d), not by sqrt(3d)")
def _scores_scaled_as_if_there_were_no_positions(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_deberta_v2, "scaled_size_sqrt", lambda query, factor: torch.tensor(query.shape[-1] ** 0.5))
    return build("deberta_relative")


@breaks("disentangled-attention")
def _positions_seen_from_the_other_side(patch: Patch) -> tuple[nn.Module, Any]:
    bias = modeling_deberta_v2.DisentangledSelfAttention.disentangled_attention_bias

    def other(self: Any, query: Any, key: Any, positions: torch.Tensor, *rest: Any) -> Any:
        return bias(self, query, key, -positions, *rest)

    patch.setattr(modeling_deberta_v2.DisentangledSelfAttention, "disentangled_attention_bias", other)
    return build("deberta_relative")


@breaks("disentangled-attention-joint", "scores divided by sqrt(d), not by sqrt(3d)")
def _joint_scores_scaled_as_if_there_were_no_positions(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_deberta, "scaled_size_sqrt", lambda query, factor: torch.tensor(query.shape[-1] ** 0.5))
    return build("deberta_joint")


@breaks("disentangled-positions")
def _vectors_of_positions_not_scaled(patch: Patch) -> tuple[nn.Module, Any]:
    scale = modeling_deberta.scaled_size_sqrt
    one = torch.tensor(1.0)
    patch.setattr(modeling_deberta, "scaled_size_sqrt", lambda x, factor: scale(x, factor) if len(x) > 1 else one)
    return build("deberta_joint")


@breaks("disentangled-positions")
def _content_seen_from_the_other_side(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(modeling_deberta, "build_rpos", lambda query, key, positions: -positions)
    return build("deberta_joint")


@breaks("residual-output", "no residual connection")
def _output_without_residual(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(FlavaOutput, "forward", lambda self, hidden_states, input_tensor: self.dropout(
        self.dense(hidden_states)))  # fmt: skip
    part = FlavaOutput(hf.FlavaTextConfig(hidden_size=8, intermediate_size=12)).eval()
    return part, {"hidden_states": torch.randn(2, 3, 12), "input_tensor": torch.randn(2, 3, 8)}


@breaks("inverted-residual-end", "no residual connection")
def _block_without_residual(patch: Patch) -> tuple[nn.Module, Any]:
    patch.setattr(EfficientNetFinalBlockLayer, "forward", lambda self, embeddings, hidden_states: self.dropout(
        self.project_bn(self.project_conv(hidden_states))))  # fmt: skip
    block = EfficientNetFinalBlockLayer(hf.EfficientNetConfig(hidden_act="relu"), 8, 4, 1, 0.1, False).eval()
    return block, {"embeddings": torch.randn(1, 4, 5, 5), "hidden_states": torch.randn(1, 8, 5, 5)}
