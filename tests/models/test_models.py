"""Any model that a user has in a folder is recorded with its natural input, and from a config alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.capture.measure.structure import leaves
from tftrace.cli import main
from tftrace.models.inputs.dummy import describe_shapes, make_dummy_inputs, run_mode

from ..support import local_models as local
from ..support.bits import same
from ..support.zoo_models import BOTH_SIDES, DECODER, ENCODER, EXPERTS, VISION, WORDS, ZOO, build

NATURAL = {"text": "input_ids", "image": "pixel_values", "audio": ("input_values", "input_features")}


def record(tmp_path: Path, *options: Any) -> tftrace.Trace:
    path = tmp_path / "run.tftrace"
    assert main(["record", *map(str, options), "-o", str(path), "--force"]) == 0
    return tftrace.load(path)


def taken(trace: tftrace.Trace) -> dict[str, tuple[int, ...]]:
    """What the first forward was given: name and shape."""
    return {row.name: tuple(row.shape) for row in trace[0].tensors if row.role == "input"}


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return local.natural(tmp_path_factory.mktemp("natural"))


# Enough for every day: those left out are like others that stay.
RARE = {"squeezebert", "funnel", "xlnet", "xlm", "openai_gpt", "falcon", "bloom", "qwen3_moe", "longformer"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in RARE else []) for name in local.NAMES]
)
def test_a_folder_is_recorded_with_its_natural_input(
    name: str, natural: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = local.save(name, tmp_path / name)
    trace = record(
        tmp_path, tmp_path / name, *(option for kind in kinds for option in natural[kind]), "--level", "modules"
    )
    assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == [trace.meta["model"]]
    given = taken(trace)
    for kind in kinds:
        assert any(one in given for one in NATURAL[kind]) or NATURAL[kind] in given
    assert all(row.mean is not None for row in trace[0].tensors if row.numel and row.role == "input")
    assert "up:" not in capsys.readouterr().err  # nothing was made up
    if "text" in kinds:
        assert trace.meta["tokens"][0][-len(local.SENTENCE.split()) :] == local.SENTENCE.split()


# -- from a config alone -------------------------------------------------------------------------------

BIDIRECTIONAL = ENCODER | {"pad_token_id": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "marian": BOTH_SIDES,
    "bert": ENCODER,
    "roberta": BIDIRECTIONAL,
    "distilbert": {"vocab_size": WORDS, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "albert": ENCODER | {"embedding_size": 8},
    "deberta": BIDIRECTIONAL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": BIDIRECTIONAL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "electra": ENCODER | {"embedding_size": 8},
    "gpt2": {"vocab_size": WORDS, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": ENCODER,
    "opt": ENCODER | {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "bart": BOTH_SIDES,
    "t5": {"vocab_size": WORDS, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
    "qwen3": DECODER,
    "gemma2": DECODER,
    "gemma3_text": DECODER,
    "phi": DECODER,
    "phi3": DECODER,
    "mixtral": EXPERTS | {"num_local_experts": 4},
    "deepseek_v3": DECODER | {
        "num_key_value_heads": 2, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
        "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
        "moe_intermediate_size": 8, "first_k_dense_replace": 1, "head_dim": 4,
    },
    "vit": VISION,
    "clip": {"text_config": BIDIRECTIONAL, "vision_config": VISION, "projection_dim": 8},
    "swin": {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
    | {"window_size": 4},
    "convnext": {"depths": [1, 1, 1, 1], "hidden_sizes": [4, 8, 8, 16], "image_size": 32},
    "whisper": BOTH_SIDES | {"num_mel_bins": 8, "max_source_positions": 10, "max_target_positions": 16},
    "wav2vec2": {
        "vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24, "conv_dim": [8, 8], "conv_stride": [5, 64], "conv_kernel": [10, 6],
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    },
    "mamba": {"vocab_size": WORDS, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_alone_gives_a_model_with_random_weights_and_the_same_shapes_without_any(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "small.json"
    config.write_text(json.dumps({"model_type": family} | FAMILIES[family]))
    made = record(tmp_path, "--random", "--config", config, "--level", "modules")
    said = capsys.readouterr().err
    assert "Inputs are made up: " in said and "The weights are random." in said
    assert any(row.std for row in made[0].tensors)
    shapes = record(tmp_path / "shapes", "--shapes-only", "--config", config, "--level", "modules")
    assert len(shapes) == len(made) > 5
    for step, other in zip(shapes, made, strict=True):
        assert formed(step) == formed(other)
        # Numbers of tokens, and of masks that are made from them, are known all the same.
        rows = [row for row in step.tensors if row.dtype.startswith("float") and "mask" not in row.name]
        assert all(row.device == "meta" and row.mean is None is row.zero for row in rows)


def formed(step: Any) -> list[Any]:
    """What stands in a step; whether there is a mask, code decides by its numbers."""
    return [(row.role, row.name, row.shape) for row in step.tensors if "mask" not in row.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_inputs_can_be_made_up_for_any_model_of_the_zoo(name: str) -> None:
    model, _ = build(name)
    before = torch.random.get_rng_state()
    inputs, said = make_dummy_inputs(model, 0, name)
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        assert same(model(**inputs), model(**make_dummy_inputs(model, 0, name)[0]))  # the same every time
    assert said == f"Inputs are made up: {describe_shapes(inputs)}."


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_shapes_alone_are_those_of_the_model_with_numbers(name: str) -> None:
    model, _ = build(name)
    inputs, _ = make_dummy_inputs(model, 0, name)
    with torch.device("meta"):
        empty = type(model)(model.config).to("meta").eval()
    others, _ = make_dummy_inputs(empty, 0, name)
    with torch.no_grad(), run_mode(empty):
        found = empty(**others)
    assert {key: value.shape for key, value in inputs.items()} == {key: value.shape for key, value in others.items()}
    assert [leaf.shape for _, leaf in leaves(found)] == [leaf.shape for _, leaf in leaves(model(**inputs))]
