"""`@traced`: calls of a function, or of a class's modules, recorded with no change to what they do."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture import patches
from tftrace.capture.watch import traced_functions


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return x + self.down(torch.relu(self.up(x)))


def norm(x: torch.Tensor) -> torch.Tensor:
    return x / x.pow(2).mean(-1, keepdim=True).sqrt()


def score(gate: Gate, x: torch.Tensor, *, scale: float = 1.0) -> Any:
    """How far the gate moves it."""
    moved = gate(norm(x))
    distance = (moved - x).pow(2).sum() * scale
    return distance


def tree(trace: tftrace.Trace, forward: int = 0) -> list[tuple[int, str, str]]:
    return [(s.depth, s.kind, s.name) for s in trace if s.forward == forward and s.kind != "line"]


def test_a_function_is_a_step_with_its_lines_and_what_it_calls() -> None:
    traced: Any = tftrace.traced(score)
    gate, x = Gate(), torch.randn(2, 4)
    assert (traced.__name__, traced.__doc__, traced.trace) == ("score", score.__doc__, None)
    assert torch.equal(traced(gate, x, scale=2.0), score(gate, x, scale=2.0))
    trace: tftrace.Trace = traced.trace
    # (a line is a depth of its own)
    assert tree(trace) == [
        (0, "function", "score"),
        (2, "function", "score.norm"),
        (2, "module", "Gate"),
        (4, "module", "Gate.up"),
        (4, "module", "Gate.down"),
    ]
    root = trace[0]
    assert root.type == "score" and [(t.role, t.name) for t in root.tensors] == [("input", "x"), ("output", "")]
    assert "traced(gate, x, scale=2.0)" in root.source[0]
    lines = [s for s in root.children if s.kind == "line"]
    assert [t.name for s in lines for t in s.tensors] == ["moved", "distance"]
    assert lines[1].source[0].strip().startswith("distance =")
    # THEN the next call is the next forward, and nothing watches in between
    gate(x)
    assert not patches.replaced() and not traced_functions._active
    traced(gate, x)
    assert traced.trace is trace and trace.meta["complete"]
    assert tree(trace, 1) == tree(trace) and max(s.forward for s in trace) == 1


def test_options(tmp_path: Path) -> None:
    options: dict[str, Any] = {"level": "modules", "backward": True, "every": 2, "max_forwards": 2}
    traced: Any = tftrace.traced(path=tmp_path / "run.tftrace", **options)(lambda gate, x: gate(x).sum().backward())
    gate = Gate()
    for _ in range(7):
        traced(gate, torch.randn(2, 4))
    trace = tftrace.load(tmp_path / "run.tftrace")
    assert {s.forward for s in trace} == {0, 2}
    assert {s.kind for s in trace} == {"function", "module"}
    gradients = [t for s in trace for t in s.tensors if t.role == "gradient"]
    assert len(gradients) == 2 * (3 + 4)  # outputs of three modules, four parameters
    with pytest.raises(tftrace.TraceError, match="exists already"):
        tftrace.traced(path=tmp_path / "run.tftrace")(score)(gate, torch.randn(2, 4))


def test_a_class_of_modules() -> None:
    @tftrace.traced
    class Double(Gate):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(super().forward(x))

    model, x = Double(), torch.randn(2, 4)
    assert torch.equal(model(x), model.forward(x))
    model(x)
    trace: tftrace.Trace = vars(Double)["trace"]
    assert [(s.forward, s.name) for s in trace if s.parent is None] == [(0, "Double"), (1, "Double")]
    assert "model(x)" in trace[0].source[0]
    assert set(trace.checks["verdict"].to_pylist()) == {"holds"}


def test_in_a_recording_it_is_a_step_of_that_too() -> None:
    traced: Any = tftrace.traced(score)
    gate, x = Gate(), torch.randn(2, 4)
    with tftrace.record(gate) as trace:
        traced(gate, x)
    assert [name for _, _, name in tree(trace)] == ["score", "score.norm", "", "up", "down"]
    own = [name for _, kind, name in tree(traced.trace) if kind == "module"]
    assert traced.trace[0].name == "score" and own == ["Gate", "Gate.up", "Gate.down"]


def test_what_it_raises_passes_through() -> None:
    traced: Any = tftrace.traced(score)
    with pytest.raises(RuntimeError, match="shapes"):
        traced(Gate(), torch.randn(2, 3))
    assert traced.trace[0].status == "raised" and not traced_functions._active


def test_a_recording_that_cannot_begin_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unraised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    (tmp_path / "notes.txt").write_text("mine")
    traced: Any = tftrace.traced(path=tmp_path)(score)
    with pytest.raises(tftrace.TraceError):
        traced(Gate(), torch.randn(2, 4))
    gc.collect()
    assert not unraised


def test_two_threads_at_once() -> None:
    together = threading.Barrier(2)

    @tftrace.traced
    def meet(gate: Gate, x: torch.Tensor) -> Any:
        together.wait(30)
        return gate(x)

    threads = [threading.Thread(target=meet, args=(Gate(), torch.randn(2, 4))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace: tftrace.Trace = vars(meet)["trace"]
    assert sorted(s.name.partition("-")[0] for s in trace if s.type == "Gate") == ["Gate", "Gate"]
    assert len([s for s in trace if s.parent is None]) == 2


def test_what_happens_to_its_trace_does_not_reach_the_function(tmp_path: Path) -> None:
    traced: Any = tftrace.traced(path=tmp_path / "run.tftrace")(score)
    gate, x = Gate(), torch.randn(2, 4)
    traced(gate, x)
    child = os.fork()
    if child == 0:  # whose calls are not the parent's
        for _ in range(20):
            traced(gate, x)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    traced(gate, x)
    assert {s.forward for s in traced.trace} == {s.forward for s in tftrace.load(tmp_path / "run.tftrace")} == {0, 1}
    shutil.rmtree(tmp_path / "run.tftrace")
    assert traced(gate, x).equal(score(gate, x))


@pytest.mark.parametrize("target", [Gate(), 3, "async"])
def test_what_cannot_be_traced(target: Any) -> None:
    async def later() -> None: ...

    with pytest.raises(tftrace.TraceError, match="traced cannot take"):
        tftrace.traced(later if target == "async" else target)


@pytest.mark.slow
def test_the_trace_of_a_program_that_ends_is_whole(tmp_path: Path) -> None:
    code = "import tftrace, torch\n@tftrace.traced(path='run.tftrace')\ndef f(x): return x + 1\nf(torch.ones(2))\n"
    (tmp_path / "own.py").write_text(code)
    subprocess.run([sys.executable, "own.py"], cwd=tmp_path, check=True)
    trace = tftrace.load(tmp_path / "run.tftrace")
    assert trace.meta["complete"] and tree(trace) == [(0, "function", "f")]
