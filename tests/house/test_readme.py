"""The README stays true: its Python runs, its commands exist, its keys are the keys."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.commands._options import Options
from tftrace.tui.keymap import KEYMAP

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_its_python_runs(minilm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, reading, own = BLOCKS
    assert len(first.strip().splitlines()) == 7 and "\n\n" in first  # six lines of Python
    namespace: dict[str, Any] = {"torch": torch, "tftrace": tftrace}
    exec(first.replace('"bert-base-uncased"', repr(minilm)), namespace)
    assert len(tftrace.load("run.tftrace")) > 100
    exec(reading, namespace)
    assert (tmp_path / "run.csv").is_file()
    exec(own, namespace)
    verdicts = tftrace.load("gate.tftrace").checks["verdict"].to_pylist()
    assert len(verdicts) >= 2 and set(verdicts) == {"holds"}
    assert [step.name for step in namespace["score"].trace if step.kind != "line"][:2] == ["score", "Gate"]


def test_the_python_and_the_options_of_docs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "run.md").read_text(encoding="utf-8")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    namespace: dict[str, Any] = {"model": model, "other": torch.nn.Tanh(), "x": torch.randn(3, 4), "tftrace": tftrace}
    namespace["optimizer"] = torch.optim.SGD(model.parameters(), 0.1)
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, namespace)
    assert {s.name for s in tftrace.load("every.tftrace") if s.parent is None} == {"Sequential", "Tanh"}
    assert set(namespace["gradients"]["name"]) == {"", "0", "1", "2"}
    table = text.split("| option |")[1].split("\n\n")[0]
    options = {"quiet"} | {one.name.replace("_", "-") for one in fields(Options)} - {"output"}
    assert set(re.findall(r"--([a-z][a-z-]+)", table)) == options


def test_its_first_screen_and_its_picture() -> None:
    for needed in ("make demo", "make test", "docs/screenshot.svg", "| key | does |"):
        assert needed in README.split("## What it does")[0]
    assert (Path(__file__).parents[2] / "docs" / "screenshot.svg").is_file()


def test_its_keys_are_the_keys_of_the_program() -> None:
    table = README.split("| key | does |")[1].split("## What it does")[0]
    named = set(re.findall(r"`([^`])`", table))
    known = {shown for group in KEYMAP.values() for key in group for shown in key.shown.split()}
    assert named <= known, named - known
    assert {"s", "n", "f", "c", "S", "N", "F", "C", "/", "q"} <= named


def test_its_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from tftrace.cli import main

    for command in sorted(set(re.findall(r"^tftrace (\w[\w-]*)", README, re.MULTILINE))):
        assert main([command, "--help"]) == 0
        assert f"tftrace {command}" in capsys.readouterr().out
