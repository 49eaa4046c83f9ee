"""Attention taken apart: which lines do what, in eager and in fused attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tftrace
from tftrace import Trace, describe
from tftrace.explain import attention_weights

from ..conftest import tiny


def recorded(path: Path, kind: str, family: str = "bert") -> tuple[Trace, int]:
    import torch

    model, inputs = tiny(family, kind)
    with torch.no_grad(), tftrace.record(model, path, values="auto") as trace:
        model(**inputs)
    return trace, int(describe.attention_steps(trace)[0])


def test_eager_attention_has_a_line_for_each_step(tmp_path: Path) -> None:
    trace, at = recorded(tmp_path / "run", "eager")
    steps = {one.key: one for one in describe.substeps(trace, at, "en", attention_weights.attention(trace, at))}
    lines = {key: [describe.numbered_line(trace, place) for place in one.places] for key, one in steps.items()}
    assert [line.split("self.")[1].split("(")[0] for line in lines["project"]] == ["query", "key", "value"]
    assert len(lines["score"]) == 1 and "matmul(query, key" in lines["score"][0]
    assert any("* scaling" in line for line in lines["scale and mask"])
    assert any("attention_mask" in line for line in lines["scale and mask"])
    assert len(lines["softmax"]) == 1 and "softmax(" in lines["softmax"][0]
    assert len(lines["weighted sum"]) == 1 and "value" in lines["weighted sum"][0]
    assert not any(one.fused for one in steps.values())
    assert [(t.symbol, t.rebuilt) for t in steps["softmax"].tensors] == [("P", False)]  # the run kept them


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_fused_kernel_is_one_line_and_what_it_hides_is_rebuilt(tmp_path: Path, family: str) -> None:
    trace, at = recorded(tmp_path / "run", "sdpa", family)
    steps = {one.key: one for one in describe.substeps(trace, at, "zh", attention_weights.attention(trace, at))}
    for key in ("score", "scale and mask", "softmax", "weighted sum"):
        assert steps[key].fused
        assert "scaled_dot_product_attention(" in describe.numbered_line(trace, steps[key].places[0])
    assert [t.symbol for t in steps["softmax"].tensors if t.rebuilt] == ["P"]
    scores = next(t for t in steps["score"].tensors if t.symbol == "S")
    found = attention_weights.attention(trace, at)
    assert found is not None and found.scores is not None
    assert f"{np.mean(found.scores):.3g}" in scores.text
    assert steps["score"].name == "打分"


def test_scores_that_are_not_scaled_are_written_so_and_a_bias_of_positions_is_no_score(tmp_path: Path) -> None:
    import torch
    from transformers import T5Config, T5EncoderModel

    model = T5EncoderModel(T5Config(vocab_size=20, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)).eval()
    with torch.no_grad(), tftrace.record(model, tmp_path / "run", values="auto") as trace:
        model(input_ids=torch.arange(1, 6)[None])
    at = int(describe.attention_steps(trace)[0])
    found = {one.key: one for one in describe.substeps(trace, at, "en", attention_weights.attention(trace, at))}
    assert found["scale and mask"].tex == "Z=S+M"
    symbols = {one.symbol: one.name for one in found["scale and mask"].tensors}
    assert symbols["Z"] == "scores, scaled and masked" and "mask" in symbols["M"]


def test_which_steps_are_taken_apart(tmp_path: Path) -> None:
    trace, at = recorded(tmp_path / "run", "sdpa")
    module = trace.call_of(int(trace.parents[at]))
    inside = next(p for p in trace.children(at))
    query = next(p for p in range(module, at) if trace.column("name")[p].endswith("self.query"))
    assert [describe.attention_of(trace, p) for p in (0, module, query, at, inside)] == [None, at, None, at, at]
