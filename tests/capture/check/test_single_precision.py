"""What is computed in float32 whatever a model's dtype is held to that: angles of rotary positions, which lose whole
turns in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 99,
}  # fmt: skip


def llama(**more: Any) -> Any:
    return transformers.LlamaModel(transformers.LlamaConfig(**SIZES, **more))


def scaled() -> Any:
    """Its frequencies are not the paper's."""
    return llama(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})


def gpt_neox() -> Any:
    """It turns a quarter of each head."""
    return transformers.GPTNeoXModel(transformers.GPTNeoXConfig(**SIZES | {"hidden_size": 256}))


def phi() -> Any:
    return transformers.PhiModel(transformers.PhiConfig(**SIZES | {"hidden_size": 256}))


def cohere() -> Any:
    """Its numbers stand twice side by side."""
    return transformers.CohereModel(transformers.CohereConfig(**SIZES))


def gemma3() -> Any:
    """It has frequencies for each kind of layer."""
    config = transformers.Gemma3TextConfig(
        head_dim=16, query_pre_attn_scalar=16, layer_types=["sliding_attention", "full_attention"],
        **SIZES | {"num_hidden_layers": 2},
    )  # fmt: skip
    return transformers.Gemma3TextModel(config)


def verdicts(model: Any) -> list[str]:
    with tftrace.record(model.eval(), values="none") as trace:
        model(torch.arange(4, 52)[None])
    return [row["verdict"] for row in trace.checks.to_pylist() if row["equation"].startswith("rotary-embedding")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [llama, scaled, gpt_neox, phi, cohere])
def test_rotary_angles_in_half_precision_differ(make: Callable[[], Any], dtype: torch.dtype) -> None:
    model = make().to(dtype)
    assert set(verdicts(model)) == {"holds"}
    rotary, side_by_side = model.rotary_emb, isinstance(model, transformers.CohereModel)

    def forward(x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = position_ids[..., None].to(dtype) * rotary.inv_freq.to(dtype)
        both = angles.repeat_interleave(2, -1) if side_by_side else torch.cat((angles, angles), -1)
        return both.cos(), both.sin()

    rotary.forward = forward
    assert set(verdicts(model)) == {"differs"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frequencies_that_were_cast_with_the_model_are_those_it_has(dtype: torch.dtype) -> None:
    found = verdicts(gemma3().to(dtype))
    assert len(found) == 2 and set(found) == {"holds"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_a_norm_in_half_precision_differ(dtype: torch.dtype) -> None:
    """Of numbers far from 0 the deviation is lost."""
    torch.manual_seed(0)
    norm: Any = torch.nn.LayerNorm(256).to(dtype)
    x = (torch.randn(4, 256) + 60).to(dtype)

    def of_norm() -> list[str]:
        with tftrace.record(norm.eval(), level="lines") as trace:
            norm(x)
        return [row["verdict"] for row in trace.checks.to_pylist()]

    assert of_norm() == ["holds"]
    norm.forward = lambda x: (x - x.mean(-1, True)) / (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
    assert of_norm() == ["differs"]
