"""Every face tells the same origins of NaN and Inf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.cli import main
from tftrace.export import export
from tftrace.navigate import stepping
from tftrace.trace.trace import load

from ..support.broken_numbers import CASES
from ..support.builders import attention_trace, hostile_trace

KEYS = [
    "step",
    "name",
    "kind",
    "type",
    "file",
    "line",
    "tensor",
    "what",
    "cause",
    "detail",
    "where",
    "count",
    "reached",
]
SENTENCE = "4 NaN in output: it came in with the parameter weight[3, 7]"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose linear layer, at step 2, has a NaN in its weight."""
    path = tmp_path_factory.mktemp("nan") / "run.tftrace"
    model = CASES["nan_in_a_weight"]().model
    with torch.no_grad(), tftrace.record(model, path=path, level="lines", values="auto"):
        model(torch.ones(2, 2, 8))
    return path


def test_the_command_says_where_and_why(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nan", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[0].startswith("step 2 · inner · Linear · cases.py:")
    assert "    found = self.inner(*inputs)\n" in said.out and SENTENCE in said.out
    assert "first at row 0, token 0; 3 steps reached" in said.out
    assert said.err == "1 origin of NaN or Inf.\n"


def test_its_json_has_every_key(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nan", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (one,) = found.pop("origins")
    assert found == {"version": 1, "found": True, "innocent": 0}
    assert list(one) == KEYS and list(one["where"]) == ["row", "token", "head"]
    assert (one["step"], one["cause"], one["detail"], one["count"]) == (2, "parameter", "weight[3, 7]", 4)


def test_what_is_sound_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = attention_trace(tmp_path).path
    assert main(["nan", str(path)]) == main(["check", str(path)]) == 0
    assert "No NaN or Inf was made.\n" in capsys.readouterr().err
    assert main(["nan", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "found": False, "origins": [], "innocent": 0}
    assert main(["nan", str(tmp_path / "none")]) == 2


def test_an_origin_that_comes_again_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = CASES["Root"]().model
    with torch.no_grad(), tftrace.record(model, path=tmp_path / "run", level="lines"):
        for _ in range(3):
            model(-torch.ones(2, 4))
    assert main(["nan", str(tmp_path / "run")]) == 1
    said = capsys.readouterr()
    assert said.out.count("torch.sqrt(x)") == 1 and "again at 2 later steps" in said.out
    assert said.err == "3 origins of NaN or Inf.\n"


def test_check_exits_1_and_says_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(path)]) == 1
    assert "NaN or Inf was made: step 2 · inner · Linear" in (err := capsys.readouterr().err) and SENTENCE in err


def test_show_and_info_tell_them(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(path)]) == 0
    assert "made    step 2 · inner · Linear" in capsys.readouterr().out
    assert main(["show", str(path), "--step", "2"]) == 0
    assert SENTENCE in capsys.readouterr().out
    assert main(["show", str(path), "--step", "1"]) == 0
    assert SENTENCE not in capsys.readouterr().out
    assert main(["info", str(path)]) == 0
    assert SENTENCE in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nan"] == {"origins": 1, "innocent": 0}


def test_the_report_tells_them(path: Path, tmp_path: Path) -> None:
    export(load(path), tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert list(data["made"]) == ["2"] and data["made"]["2"].startswith(SENTENCE)


def test_continue_halts_where_they_were_made_and_nowhere_else(path: Path) -> None:
    trace = load(path)
    assert trace.column("nan", "tensors").tolist().count(0) < len(trace.tensors) - 4  # it went far
    assert stepping.stops(trace) == (0, 2)


def test_what_a_stranger_wrote_moves_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = hostile_trace(tmp_path)
    assert main(["nan", str(trace.path)]) == 0
    from ..support.builders import HOSTILE, Builder

    builder = Builder(tmp_path / "bad.tftrace", nonfinite={HOSTILE: {"what": HOSTILE, "index": [1], "buffer": True}})
    step = builder.step(0, name=HOSTILE, type=HOSTILE, file=HOSTILE, line=3)
    builder.tensor(step, "output", HOSTILE, nan=1, dtype=HOSTILE)
    assert main(["nan", str(builder.done().path)]) == 1
    assert "\x1b" not in capsys.readouterr().out
