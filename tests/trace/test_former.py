"""A trace of a former version stays readable: `former/trace-0.1.0` is of tftrace 0.1.0, and is never made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tftrace
from tftrace import Trace
from tftrace.cli import main
from tftrace.navigate.nonfinite import origins
from tftrace.trace import notes, schema

FORMER = Path(__file__).parent / "former" / "trace-0.1.0"


@pytest.fixture
def former(tmp_path: Path) -> Trace:
    """A copy of it, since a note would be written into the folder."""
    return tftrace.load(shutil.copytree(FORMER, tmp_path / "former.tftrace"))


def test_what_it_says_of_the_run_is_read(former: Trace) -> None:
    assert former.meta["schema"] == schema.SCHEMA_VERSION and former.missing == []
    assert [step.type for step in former if step.kind == "module"] == [
        "Small",
        *["Block", "LayerNorm", *["Linear"] * 2] * 2,
    ]
    assert [(check.equation, check.verdict) for check in former[6].checks] == [("linear", "holds")]
    assert former[4].source == ["        hidden = torch.relu(self.up(self.norm(x)))"]
    assert former.value(4, "hidden").shape == (2, 3, 16) and np.all(former.value(4, "hidden") >= 0)
    assert notes.read(former) == {3: "looked at"}


def test_what_it_does_not_hold_is_worked_out_from_what_it_does(former: Trace) -> None:
    """Where NaN came from was asked of traces only later."""
    (origin,) = origins(former).found
    assert (origin.name, origin.cause) == ("blocks.1.down", "parameter")
    assert "nonfinite" not in former.meta


@pytest.mark.parametrize(
    "words", [["show"], ["info"], ["check"], ["nan"], ["explain", "6", "--cell", "0,0,0", "--no-replay"]]
)
def test_the_commands_take_it(former: Trace, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    verb, *rest = words
    assert main([verb, str(former.path), *rest]) == (1 if verb in ("check", "nan") else 0)
    assert capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "jsonl", "html", "svg"])
def test_it_is_exported(former: Trace, tmp_path: Path, ending: str) -> None:
    former.export(tmp_path / f"run.{ending}")
    assert (tmp_path / f"run.{ending}").stat().st_size > 1000
