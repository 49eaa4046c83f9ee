"""What was seen is found again in the trace: the tensors of each symbol, attention maps, sub-steps, explained cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace import describe
from tftrace.describe import attention_substeps
from tftrace.explain.attention_weights import attention
from tftrace.explain.explain import explain
from tftrace.maintain.prune import prune
from tftrace.trace.seen_tensors import FILE, seen_tensors

from ...support.ordinary import ENTRIES

pytestmark = pytest.mark.usefixtures("no_grad")
WITH_ATTENTION = [entry for entry in ENTRIES if entry.has_attention]


def recorded(name: str, **options: Any) -> tftrace.Trace:
    entry = next(entry for entry in ENTRIES if entry.name == name)
    model, given = entry()
    with tftrace.record(model, values="auto", **options) as trace:
        model(*given)
    return trace


@pytest.mark.parametrize("entry", WITH_ATTENTION[::3], ids=lambda entry: entry.name)
def test_the_map_is_there_and_a_cell_is_explained(entry: Any) -> None:
    model, given = entry()
    with tftrace.record(model, values="auto") as trace:
        model(*given)
    steps = describe.attention_steps(trace).tolist()
    assert steps
    for at in steps:
        found = attention(trace, at)
        assert found is not None and found.reason == "" and found.probabilities is not None
        assert found.probabilities.ndim == 4 and np.allclose(found.probabilities.sum(-1), 1, atol=1e-5)
        mixed = explain(trace, at, (0, 0, -1, -1), equation=trace.column("equation")[at])
        assert mixed.symbol == "out" and mixed.matches and len(mixed.terms) == found.probabilities.shape[-1]


def test_tensors_have_the_names_that_lines_gave_them() -> None:
    trace = recorded("causal_self_attention")
    (at,) = describe.attention_steps(trace).tolist()
    found = seen_tensors(trace, at, "attention-seen")
    names = {symbol: (row.role, row.name) for symbol, row in found.items()}
    local = {"Q": "q", "K": "k", "V": "v", "P": "att", "out": "y"}
    assert names == {symbol: ("local", name) for symbol, name in local.items()} | {"h": ("seen", "h")}
    assert found["h"].shape == (1, 1, 7, 7) and found["h"].value
    assert seen_tensors(trace, at, "another") == {} == seen_tensors(trace, at + 1, "attention-seen")


def test_sub_steps_of_attention_in_lines_of_a_module() -> None:
    trace = recorded("causal_self_attention")
    (at,) = describe.attention_steps(trace).tolist()
    steps = {step.key: step for step in describe.substeps(trace, at, rebuilt=attention(trace, at))}
    texts = {key: [describe.row(trace, place).label for place in step.places] for key, step in steps.items()}
    assert texts["project"] == ["c_attn"]
    assert texts["score"] == ["att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))"]
    assert texts["softmax"] == ["att = F.softmax(att, dim=-1)"] and texts["weighted sum"] == ["y = att @ v"]
    assert [one.symbol for one in steps["scale and mask"].tensors] == ["M", "Z"]
    assert [one.name for one in steps["weighted sum"].tensors] == ["v", "y"]


@pytest.mark.parametrize("shape", [(), (4, -3)])
def test_a_damaged_shape_says_nothing_of_the_size_of_a_head(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = recorded("causal_self_attention")
    (at,) = describe.attention_steps(trace).tolist()
    found = seen_tensors(trace, at, "attention-seen")
    damaged = found | {"Q": replace(found["Q"], shape=shape)}
    monkeypatch.setattr(attention_substeps, "seen_tensors", lambda *_: damaged)
    steps = describe.substeps(trace, at, rebuilt=attention(trace, at))
    assert len(steps) == 5 and r"\sqrt" in steps[2].tex


def test_the_scale_that_was_seen_is_that_of_the_map() -> None:
    class Unscaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(1, 2)
            return scores.softmax(-1) @ x

    with tftrace.record(model := Unscaled(), values="auto") as trace:
        model(torch.randn(2, 5, 8))
    (at,) = describe.attention_steps(trace).tolist()
    found = attention(trace, at)
    assert found is not None and found.scale == 1.0
    assert trace.checks.to_pylist()[0]["variant"] == "scores not scaled"


def test_pruning_keeps_what_is_wanted(tmp_path: Path) -> None:
    trace = recorded("causal_self_attention", path=tmp_path / "run.tftrace")
    before = seen_tensors(trace, 0, "attention-seen")["h"]
    assert before.value is not None
    prune(trace.path, "all", budget=10**9)
    prune(trace.path, ["none of these"])
    trace.reload()
    assert seen_tensors(trace, 0, "attention-seen")["h"].value is None
    assert list((trace.path / "values").glob("*")) == [] if (trace.path / "values").exists() else True


def test_only_kept_forwards_are_told_of(tmp_path: Path) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "causal_self_attention")
    model, (x,) = entry()
    run: Any = tftrace.traced(path=tmp_path / "run", when="max > 1e4")(lambda given: model(given))
    run(x)
    run(x * 1e5)
    trace = tftrace.load(tmp_path / "run")
    assert set(trace.steps["forward"].to_pylist()) == {1}
    (at,) = describe.attention_steps(trace).tolist()
    found = seen_tensors(trace, at, "attention-seen")
    assert found.keys() == {"Q", "K", "V", "P", "h", "out"}


def test_a_trace_without_the_file_or_with_a_broken_one_is_read(tmp_path: Path) -> None:
    trace = recorded("causal_self_attention", path=tmp_path / "run")
    file = trace.path / "rank-00000" / FILE
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    trace.reload()
    assert describe.equations(trace, 0)[0].id == "attention-seen"
    file.unlink()
    trace.reload()
    assert seen_tensors(trace, 0, "attention-seen") == {}
    assert describe.equations(trace, 0)[0].tensors == {}
