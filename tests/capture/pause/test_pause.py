"""A program stops at the step that a breakpoint fits: it can be looked at, goes on as before, and ends as it should."""

from __future__ import annotations

import bdb
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.pause import debugger, pauses

from ...conftest import tiny

SCRIPT = """
import sys, torch
from torch import nn
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 1)
    def forward(self, x):
        hidden = self.inner(x)
        roots = hidden.sqrt()
        return self.out(roots)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(2):
    loss = net(torch.randn(5, 4)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    print("trained", step)
sys.exit(5)
"""


class Looked:
    """Takes the place of the debugger, and goes on, or quits."""

    def __init__(self, patch: pytest.MonkeyPatch, quits: bool = False) -> None:
        self.quits = quits
        self.frames: list[str] = []
        self.hands: list[Mapping[str, Any]] = []
        self.said: list[list[str]] = []
        patch.setattr(pauses, "interact", self)

    def __call__(self, frame: FrameType, names: Mapping[str, Any], said: list[str]) -> None:
        self.frames.append(frame.f_code.co_name)
        self.hands.append(names)
        self.said.append(said)
        if self.quits:
            raise bdb.BdbQuit


def rows(trace: tftrace.Trace) -> dict[str, Any]:
    """All that is recorded, but for times."""
    steps = trace.steps.drop_columns(["start_ns", "duration_ns"]).sort_by("step").to_pylist()
    tensors = [row | {"value": None} for row in trace.tensors.to_pylist()]
    return {"steps": steps, "tensors": tensors, "checks": sorted(map(str, trace.checks.to_pylist()))}


@pytest.mark.parametrize(("engine", "checked"), [("hooks", False), pytest.param("calls", True, marks=pytest.mark.slow)])
def test_pauses_at_every_step_lose_nothing(
    engine: str, checked: bool, monkeypatch: pytest.MonkeyPatch, no_grad: None
) -> None:
    looked = Looked(monkeypatch)
    model, inputs = tiny("bert")
    traces = []
    for pause in (None, "* hit 100"):
        with tftrace.record(model, engine=engine, pause=pause, check=checked) as trace:
            model(**inputs)
        traces.append(trace)
    assert len(looked.hands) == len(traces[1]) - 99 >= 100
    assert rows(traces[0]) == rows(traces[1])
    assert all(
        hand["step"].step == int(said[0].split()[3].rstrip(":"))
        for hand, said in zip(looked.hands, looked.said, strict=True)
    )


def test_a_pattern_with_a_condition_stops_where_the_screen_would(
    monkeypatch: pytest.MonkeyPatch, no_grad: None
) -> None:
    looked = Looked(monkeypatch)
    model, inputs = tiny("bert")
    text = "attention.self when std > 0 and verdict = holds hit 2"
    with tftrace.record(model, pause=text) as trace:
        model(**inputs)
    assert [hand["step"].name for hand in looked.hands] == ["bert.encoder.layer.1.attention.self"]
    (hand,) = looked.hands
    assert hand["tensors"]["[0]"].shape == (2, 8, 32) and "holds" in hand["verdict"]
    assert looked.frames == ["forward"] and any("2×8×32" in line for line in looked.said[0])
    from tftrace.navigate.breakpoints import matching_steps, parse_breakpoint

    assert matching_steps(trace, parse_breakpoint(text)).nonzero()[0].tolist() == [hand["step"].position]


def test_quitting_leaves_torch_as_it_was_and_the_trace_open(monkeypatch: pytest.MonkeyPatch, no_grad: None) -> None:
    looked = Looked(monkeypatch, quits=True)
    model, inputs = tiny("bert")
    before = (nn.Module.__call__, vars(nn.Module).get("_call_impl"), sys.gettrace())
    with pytest.raises(bdb.BdbQuit), tftrace.record(model, pause="*.LayerNorm") as trace:
        model(**inputs)
    assert (nn.Module.__call__, vars(nn.Module).get("_call_impl"), sys.gettrace()) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert trace[looked.hands[0]["step"].position].status == "returned" and trace.meta["complete"]
    model(**inputs)


def test_breakpoint_stops_with_the_running_step_at_hand(monkeypatch: pytest.MonkeyPatch, no_grad: None) -> None:
    looked = Looked(monkeypatch)

    class Stops(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            doubled = x * 2
            tftrace.breakpoint()
            return doubled

    model = nn.Sequential(Stops())
    with tftrace.record(model, level="functions"):
        model(torch.ones(2))
    tftrace.breakpoint()
    assert looked.frames == ["forward", "test_breakpoint_stops_with_the_running_step_at_hand"]
    assert looked.hands[0]["step"].type == "Stops" and looked.hands[1] == {}


@pytest.mark.parametrize("text", ["nan >", "attention when", "when size > 3", ""])
def test_a_mistake_in_a_breakpoint_comes_before_anything_runs(text: str) -> None:
    with pytest.raises(tftrace.TraceError):
        tftrace.record(nn.Linear(2, 2), pause=text)


def run(script: Path, commands: str, pause: str = "nan > 0") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tftrace", "run", "--pause", pause, "-o", str(script.with_suffix(".tftrace"))]
    return subprocess.run([*words, "--force", str(script)], input=commands, capture_output=True, text=True, check=False)


def test_a_training_script_is_stopped_looked_at_and_ends_as_it_should(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = run(script, "p hidden.shape\np paused_step.type, tensors['roots'].isnan().any()\n" + "c\n" * 30)
    assert done.returncode == 5 and "trained 1" in done.stdout, done.stderr
    assert "torch.Size([5, 4])" in done.stdout and "('Net.forward', tensor(True))" in done.stdout
    assert "Paused at step" in done.stdout and "-> return self.out(roots)" in done.stdout
    quit_ = run(script, "q\n")
    assert quit_.returncode == 1 and "trained" not in quit_.stdout and "Traceback" not in quit_.stderr
    trace = tftrace.load(tmp_path / "train.tftrace")
    assert len(trace) > 3 and trace.meta["complete"]


def test_stepping_on_follows_the_program(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = run(script, "n\n" + "c\n" * 30, "train.py:12")
    assert done.returncode == 5 and "trained 1" in done.stdout


def test_python_s_own_choice_of_a_debugger_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def stop(frame):\n    print('mine', frame.f_code.co_name, step)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONBREAKPOINT", "mine.stop")
    debugger.interact(sys._getframe(), {"step": 7}, ["Paused"])
    assert capsys.readouterr().out == "mine test_python_s_own_choice_of_a_debugger_is_used 7\n"
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    debugger.interact(sys._getframe(), {"step": 7}, ["Paused"])
    assert capsys.readouterr().out == ""
