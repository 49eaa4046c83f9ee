"""Steps found by name, what a step says of itself, and how a notebook shows it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tftrace.errors import TraceError

from ..support.builders import Builder, attention_trace, hostile_trace


def test_steps_are_found_by_name(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    assert [step.position for step in trace.find("attention")] == [4, 19]
    assert {step.name for step in trace.find("attention.*")} == {"attention.query", "attention.key", "attention.attend"}
    assert [step.name for step in trace.find("attention.*", kind="function", forward=1)] == ["attention.attend"]
    assert {step.kind for step in trace.find("attention", kind="line")} == {"line"}
    assert trace.find("nothing") == trace.find("attention", forward=9) == []
    with pytest.raises(
        TraceError, match="There are no steps of kind 'layer': choose one of module, function, line, op"
    ):
        trace.find("*", kind="layer")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "码 \udcff\n"
    folder.mkdir()
    assert len(attention_trace(folder).find("attention")) == 1


def test_a_step_knows_its_source_and_its_equation(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    (key,) = trace.find("attention.key")
    assert [line.strip() for line in key.source] == ["key = self.key(", "x,", ").view(1, 4, 2, 8)"]
    assert key.recipe is not None and key.recipe["cite"] == "torch.nn.Linear"
    root = trace[0]
    assert root.source == [] and root.recipe is None
    with pytest.raises(TraceError, match="was not kept"):
        root.value("ids")


def test_a_notebook_shows_the_run_and_the_step(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    shown = trace._repr_html_()
    assert "attention" in shown and "<table>" in shown and "toy.py:23" in shown
    shown = trace.find("attention.attend")[0]._repr_html_()
    for said in ("Vaswani et al. 2017", "holds", "query", "1×4×2×8", "scores = attend(query, key)"):
        assert said in shown
    assert Builder(tmp_path / "empty.tftrace").done()._repr_html_()


def test_nothing_of_a_stranger_reaches_the_notebook(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "markup.tftrace", model="<script>alert(1)</script>", result="<img src=x>")
    step = builder.step(0, name="<b>&", type="</td><script>")
    builder.tensor(step, "input", "<i onload=x>", dtype="<u>", device="\x1b")
    for trace in (builder.done(), hostile_trace(tmp_path)):
        for shown in (trace._repr_html_(), *(step._repr_html_() for step in trace)):
            assert set(re.findall(r"</?(\w+)", shown)) <= {"table", "tr", "td", "th", "p", "b", "pre", "code"}
            assert "\x1b" not in shown and "\u202e" not in shown and "onload=x>" not in shown
