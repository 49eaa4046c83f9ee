"""Attention weights rebuilt from what was kept, against those that the model itself gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tftrace
from tftrace import Trace
from tftrace.explain.attention_weights import attention
from tftrace.trace import schema
from tftrace.trace.scalars import numbers

from ..conftest import tiny


def recorded(path: Path, family: str, kind: str) -> tuple[Trace, list[np.ndarray]]:
    """A small model recorded with values, and the weights that it gives when asked for them."""
    import torch

    model, inputs = tiny(family, "eager")
    with torch.no_grad():
        out = model(**inputs, output_attentions=True)
        model.set_attn_implementation(kind)
        with tftrace.record(model, path, level="functions", values="auto") as trace:
            model(**inputs)
    given = out.attentions if family != "marian" else (*out.encoder_attentions, *out.decoder_attentions)
    return trace, [one.numpy() for one in given]


@pytest.mark.parametrize("family", ["bert", "gpt2", "marian"])
@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_the_weights_are_those_that_eager_attention_gives(tmp_path: Path, family: str, kind: str) -> None:
    trace, given = recorded(tmp_path / "run", family, kind)
    found = [attention(trace, step.position) for step in trace if step.type.endswith("attention_forward")]
    if family == "marian":  # cross-attention stands between the decoder's own
        whole = [one for one in found if one is not None and one.probabilities is not None]
        found = [*whole[: len(given)]]
    assert len(found) >= 2
    for one in found[:2]:
        assert one is not None and one.probabilities is not None
        assert one.rebuilt == (kind == "sdpa")
        assert any(g.shape == one.probabilities.shape and np.allclose(g, one.probabilities, atol=1e-5) for g in given)


def test_weights_that_do_not_give_the_result_are_not_shown(tmp_path: Path) -> None:
    trace, _ = recorded(tmp_path / "run", "bert", "sdpa")
    step = next(step for step in trace if step.type.endswith("attention_forward"))
    result = next(row for row in step.tensors if row.role == schema.OUTPUT)
    kept = tmp_path / "run" / "values" / str(result.value).partition("#")[0]
    good = trace.value(step.position, result.name)
    data = kept.read_bytes()
    assert good.tobytes() in data
    kept.write_bytes(data.replace(good.tobytes(), (good + 1).tobytes()))
    found = attention(trace, step.position)
    assert found is not None and found.probabilities is None
    assert "cannot be rebuilt" in found.reason


def test_other_steps_have_no_attention_and_what_was_not_kept_is_said(tmp_path: Path) -> None:
    import torch

    model, inputs = tiny("bert")
    with torch.no_grad(), tftrace.record(model, tmp_path / "run", level="functions", values="none") as trace:
        model(**inputs)
    assert attention(trace, 0) is None
    step = next(step for step in trace if step.type.endswith("attention_forward"))
    found = attention(trace, step.position)
    assert found is not None and found.probabilities is None and "query and key not kept" in found.reason


def test_the_equation_and_the_numbers_of_the_run_say_how(tmp_path: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaModel

    # GIVEN grouped queries and a scale that no configuration names
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        vocab_size=50, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    model, ids = LlamaModel(config).eval(), torch.arange(14).reshape(2, 7)
    model.layers[0].self_attn.scaling = 0.7
    with torch.no_grad():
        (given,) = model(ids, output_attentions=True).attentions
        model.set_attn_implementation("sdpa")
        with tftrace.record(model, tmp_path / "run", level="functions", values="auto") as trace:
            model(ids)
    step = next(step for step in trace if step.type.endswith("attention_forward"))
    found = attention(trace, step.position)
    assert found is not None and found.probabilities is not None and found.rebuilt, found
    assert np.allclose(given.numpy(), found.probabilities, atol=1e-5)
    assert found.scale == pytest.approx(0.7) and found.scores is not None and found.mask is not None
    assert np.isneginf(found.mask).sum() == 2 * 4 * 21
    # AND what stands in the trace about it are a few numbers of this call
    assert numbers(trace, step.position, "attention")["s"] == 0.7
    assert numbers(trace, step.position, "linear") == {} == numbers(trace, 0, "attention")
