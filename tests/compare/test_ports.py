"""Ports with no name in common with the model: right ones are rounding, and each fault is found at its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from .ports import ByAxis, ByHead, ByTorch, Scripted, Student, Turning
from .runs import answer, bert, first_place, ids, is_sound, llama, recorded, spread


def _llama() -> Any:
    return llama(rope_parameters={"rope_type": "default", "rope_theta": 1e6}, rms_norm_eps=1e-5)


def _t5() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 96, "d_model": 48, "d_kv": 12, "d_ff": 80, "num_layers": 2, "num_heads": 4}
    config = hf.T5Config(**sizes, decoder_start_token_id=0, tie_word_embeddings=False)
    return spread(hf.T5ForConditionalGeneration(config), 2.0)


MODELS: dict[Callable[..., Any], Callable[[], Any]] = {
    Scripted: _llama, ByTorch: bert, ByHead: bert, Student: _t5, Turning: _llama, ByAxis: bert,
}  # fmt: skip


def _compared(folder: Path, port: Callable[..., Any], faults: dict[str, Any]) -> Any:
    model = MODELS[port]()
    ported = port(model, **faults).eval()
    given = (ids(2, 11), ids(2, 14, seed=3))[: 2 if port is Student else 1]
    names = ("input_ids", "decoder_input_ids")
    left = recorded(folder / "a", model, lambda: model(**dict(zip(names, given, strict=False))))
    return answer(left, recorded(folder / "b", ported, lambda: ported(*given)))


@pytest.mark.parametrize("port", MODELS)
def test_a_right_port_is_rounding(tmp_path: Path, port: Callable[..., Any]) -> None:
    found = _compared(tmp_path, port, {})
    assert is_sound(found) and found.pairs.compared > 10, found.sentence


FAULTS: list[Any] = [
    (Scripted, {"base": 1e4}, "spin|q_embed|k_embed|phase"),
    (Scripted, {"eps": 1e-6}, "layers.0.input_layernorm"),
    (Scripted, {"swap": True}, "x1|x2|q_embed"),
    (Scripted, {"unscaled": True}, "layers.0.self_attn.sdpa"),
    (Scripted, {"unmasked": True}, "layers.0.self_attn.sdpa"),
    (Scripted, {"gelu": True}, "act = |hidden = |act_fn"),
    (ByTorch, {"activation": "relu"}, "stack.0"),
    (ByTorch, {"first": True}, "stack.0"),
    (ByTorch, {"bias": True}, "stack.1"),
    (ByHead, {"eps": 1e-6}, "embeddings.LayerNorm"),
    (ByHead, {"unscaled": True}, "layer.0.attention.self"),
    (ByHead, {"tanh": True}, "intermediate_act_fn"),
    (Student, {"eps": 1e-5}, "encoder.block.0.layer.0.layer_norm"),
    (Student, {"scaled": True}, "encoder.block.0.layer.0.SelfAttention"),
    (Student, {"both": True}, "decoder.block.0.layer.0.SelfAttention"),
    (Student, {"later": True}, "decoder.block.0.layer.0.SelfAttention"),
]
MORE: list[Any] = [
    (Turning, {"base": 1e4}, "turns = |angles = |q_embed|k_embed|turn("),
    (Turning, {"eps": 1e-6}, "layers.0.input_layernorm"),
    (Turning, {"unpermuted": True}, "k_proj|k_embed|layers.1.self_attn"),
    (Turning, {"heavier": True}, "layers.1.self_attn.o_proj|layers.1 "),
    (Turning, {"shift": 1}, "turns = |angles = |q_embed|k_embed|turn("),
    (Turning, {"later": True}, "layers.0.self_attn"),
    (Turning, {"groups": True}, "layers.0.self_attn"),
    (Turning, {"crossed": True}, "layers.0.mlp"),
    (ByAxis, {"bias": True}, "layer.1.attention.self"),
    (ByAxis, {"transposed": True}, "layer.2.attention.output"),
    (ByAxis, {"places": True}, "embeddings"),
    (ByAxis, {"types": True}, "embeddings"),
    (ByAxis, {"exchanged": True}, "layer.0.attention.self"),
    (ByAxis, {"scale": True}, "layer.0.attention.self"),
    (ByAxis, {"residual": True}, "layer.1.attention.output"),
    (ByAxis, {"relu": True}, "layer.0.intermediate"),
]
FAULTS += [pytest.param(*one, marks=pytest.mark.slow) for one in MORE]


@pytest.mark.parametrize(("port", "faults", "place"), FAULTS, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_fault_is_found_at_its_line(
    tmp_path: Path, port: Callable[..., Any], faults: dict[str, Any], place: str
) -> None:
    found = _compared(tmp_path, port, faults)
    assert found.verdict == "differs", found.sentence
    assert any(part in first_place(found) for part in place.split("|")), first_place(found)
