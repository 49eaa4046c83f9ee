"""Where a check covers less than the TeX shows, every face says so beside the ✓; and nothing is ever `0 ≤ 0`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import tftrace
from tftrace import Trace, describe
from tftrace.card import step_card
from tftrace.cli import main
from tftrace.navigate.verdict_summary import summaries
from tftrace.recipes.format.covers import COVERS

SAID = "wiring ✓: the products are checked in rows of their own  equal (8 cells)"


@pytest.fixture
def run(tmp_path: Path) -> Trace:
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity())
    with torch.no_grad(), tftrace.record(model, tmp_path / "run.tftrace") as trace:
        model(torch.randn(2, 4))
    return trace


def test_a_step_says_what_its_check_covers(run: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    judged = {e.id: e.judgement for at in range(len(run)) for e in describe.equations(run, at) if not e.within}
    assert judged["sequential"] == SAID
    assert (
        judged["identity"] == "✓ holds  equal, and nothing rounds (8 cells)"
    )  # of which nothing is left out, and nothing was computed
    assert judged["linear"].startswith("✓ holds  ") and " ≤ " in judged["linear"]
    chinese = describe.equations(run, 0, "zh")[0].judgement
    assert chinese == "wiring ✓: 其中的乘积另行检查  equal (8 cells)"
    assert SAID in step_card(run[0]).replace("&nbsp;", " ")
    assert main(["show", str(run.path), "--step", "0"]) == 0
    assert SAID in capsys.readouterr().out


def test_the_verdicts_of_a_run_say_it(run: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    assert {s.equation: s.covers for s in summaries(run)}["sequential"] == "wiring"
    assert main(["check", str(run.path)]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if "sequential" in line]
    assert row.endswith("equal  wiring ✓: the products are checked in rows of their own") and "0 ≤ 0" not in out
    assert main(["check", str(run.path), "--json"]) == 0
    assert {r["equation"]: r["covers"] for r in json.loads(capsys.readouterr().out)}["identity"] == ""


def test_exports_say_it(run: Trace, tmp_path: Path) -> None:
    run.export(tmp_path / "steps.jsonl")
    step = json.loads((tmp_path / "steps.jsonl").read_text().splitlines()[0])
    assert [(c["equation"], c["covers"]) for c in step["checks"]] == [("sequential", "wiring")]
    run.export(tmp_path / "page.html")
    assert json.dumps(SAID) in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_every_word_has_a_reason_in_both_languages() -> None:
    assert all(set(said) == {"en", "zh"} and all(said.values()) for said in COVERS.values())
