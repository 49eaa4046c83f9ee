"""The verdicts of a run by equation, and the command that fails where one differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.cli import main
from tftrace.navigate.verdict_summary import summaries

pytestmark = pytest.mark.usefixtures("no_grad")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last, self.drop = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.drop(self.last(self.norm(self.first(x))))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A linear layer that lost its bias, and a dropout that cannot be checked."""
    model = Model().eval()
    model.drop.train()
    model.last.register_forward_hook(lambda module, args, out: out - module.bias)
    with tftrace.record(model, tmp_path / "run.tftrace") as trace:
        model(torch.randn(2, 8))
    return trace.path


def test_what_differs_stands_first_with_its_step(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tftrace.load(broken)
    wrong, *others = summaries(trace)
    assert (wrong.equation, wrong.holds, wrong.differs, wrong.unchecked) == ("linear", 1, 1, 0)
    assert wrong.first is not None and trace[wrong.first].name == "last" and wrong.worst == wrong.first
    assert wrong.share is not None and wrong.bound is not None
    assert wrong.share > 1 and wrong.residual == pytest.approx(wrong.share * wrong.bound)
    assert {(s.equation, s.holds, s.differs, s.unchecked) for s in others} == {
        ("layer-norm", 1, 0, 0), ("dropout", 0, 0, 1)
    }  # fmt: skip
    # WHEN a script asks THEN the exit code says it, and the table where
    assert main(["check", str(broken)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1 + ("design" in out.splitlines()[1])].split()[:4] == ["✗", "linear", "1", "1"]
    assert f"first at step {wrong.first}, last" in out and "random: attr:training is True (1)" in out
    assert "2 checks hold, 1 differ, 1 could not be made" in err
    assert main(["check", str(broken), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["equation"] == "linear"


def test_a_sound_run_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model().eval()
    with tftrace.record(model, tmp_path / "run.tftrace"):
        model(torch.randn(2, 8))
    assert main(["check", str(tmp_path / "run.tftrace")]) == 0
    assert "✗" not in capsys.readouterr().out


def test_a_run_without_checks_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model().eval()
    with tftrace.record(model, tmp_path / "run.tftrace", check=False):
        model(torch.randn(2, 8))
    assert main(["check", str(tmp_path / "run.tftrace")]) == 0
    assert "No equation was checked" in capsys.readouterr().err


def test_recipes_are_listed_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert main(["recipes", "list"]) == 0 and capsys.readouterr().out == listed
    assert any(line.split()[0] == "attention" for line in listed.splitlines())
    assert main(["recipes", "show", "layer-norm"]) == 0
    out = capsys.readouterr().out
    assert "variant (mistake): without epsilon" in out and "e = attr:eps" in out and "Ba et al. 2016" in out
    assert main(["recipes", "show", "layer-nor"]) == 2
    assert "is it one of layer-norm" in capsys.readouterr().err
