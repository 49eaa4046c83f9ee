"""Dropout that was active is said at the top: of the checks, of the text, and of the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tftrace
from tftrace import Trace, describe, load
from tftrace.cli import main
from tftrace.tui import TraceApp

from ..tui.test_app import play, screen

SAID = "training: dropout is active in 1 module (2), and no two runs are the same"


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Dropout(0.1) for _ in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        return x


def recorded(path: Path, training: bool, model: nn.Module | None = None) -> Trace:
    model = model or nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.0), nn.Dropout(0.5))
    with tftrace.record(model.train(training), path=path):
        model(torch.randn(2, 8))
    return load(path)


def test_active_dropout_is_said_in_every_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.tftrace"
    trace = recorded(path, training=True)
    assert describe.mode(trace) == SAID
    for command in ("check", "show"):
        assert main([command, str(path)]) == 0
        top = capsys.readouterr().out.splitlines()[:3]
        assert any("mode" in line and SAID[:40] in line for line in top), command

    async def script(app: TraceApp, pilot: object) -> None:
        shown = screen(app)
        assert "Steps · dropout is active" in shown.splitlines()[0]
        assert "dropout is active in 1" in shown

    play(trace, script)


def test_without_dropout_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.tftrace"
    assert describe.mode(recorded(path, training=False)) == ""
    main(["check", str(path)])
    assert "mode" not in capsys.readouterr().out


def test_training_without_dropout_is_named(tmp_path: Path) -> None:
    assert describe.mode(recorded(tmp_path / "run.tftrace", training=True, model=nn.Linear(8, 8))) == "training"


def test_of_many_modules_a_few_are_named(tmp_path: Path) -> None:
    said = describe.mode(recorded(tmp_path / "run.tftrace", training=True, model=Many()))
    assert said.startswith("training: dropout is active in 5 modules (parts.0, parts.1, parts.2, …)")


def test_a_trace_that_does_not_tell_says_nothing(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "run.tftrace", training=True)
    del trace.meta["mode"], trace.meta["dropout"]
    assert describe.mode(trace) == ""
