"""`tftrace run`: a program runs as without us, and every model that it calls is in the trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace import cli
from tftrace.capture.forward_choice import Choice
from tftrace.capture.recorder import Recorder
from tftrace.commands import _runner, run
from tftrace.commands._imported import when_imported
from tftrace.commands._options import Options

from ..conftest import tiny

MODEL = """
import sys, torch
from torch import nn

class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))

torch.manual_seed(0)
gate = Gate()
"""
LOOP = """
loss = nn.MSELoss()
for step in range(6):
    print(loss(gate(torch.ones(2, 4)), torch.zeros(2, 4)).item())
"""

Ran = Callable[..., int]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    """Runs `tftrace run WORDS` in an empty folder and gives the exit code."""
    monkeypatch.chdir(tmp_path)
    argv, path, main = list(sys.argv), list(sys.path), sys.modules["__main__"]

    def command(*words: str) -> int:
        try:
            return cli.main(["run", *words])
        except SystemExit as left:
            return int(left.code or 0)

    yield command
    sys.argv[:], sys.path[:], sys.modules["__main__"] = argv, path, main


def names(trace: tftrace.Trace) -> list[tuple[int, str]]:
    """Number and name of each forward."""
    return [(step.forward, step.name) for step in trace if step.parent is None]


# -- a program runs as without us -------------------------------------------------------------------------

PROBE = """
import atexit, sys
print(sys.argv, __name__, __file__, __package__, __spec__ and __spec__.name, sys.path[0], flush=True)
print(input(), sys.modules["__main__"].__dict__ is globals())
atexit.register(lambda: print("end", len(SPARE)))
SPARE = [1]
import torch
torch.nn.Linear(2, 2)(torch.ones(1, 2))
if "exit" in sys.argv: sys.exit(5)
if "say" in sys.argv: sys.exit("goodbye")
if "fail" in sys.argv: {}["key"]
"""


def outcome(*words: str, folder: Path) -> tuple[int, str, list[str]]:
    done = subprocess.run([sys.executable, *words], cwd=folder, input="in\n", capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith(("Recorded", "Next:"))]
    return done.returncode, done.stdout, said


@pytest.mark.parametrize(
    "words",
    [
        ("sub/probe.py", "fail", "--level", "-o"),
        pytest.param(("-m", "sub.probe", "say", "--force"), marks=pytest.mark.slow),
        pytest.param(("sub", "exit"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_program_notices_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("probe.py", "__main__.py"):
        (tmp_path / "sub" / name).write_text(PROBE)
    ours = outcome("-m", "tftrace", "run", "-o", "run.tftrace", "--level", "modules", *words, folder=tmp_path)
    # THEN exit code, output, error output with its traceback: all is the same
    assert ours == outcome(*words, folder=tmp_path)
    assert ours[0] and ours[1].endswith("end 1\n")
    assert names(tftrace.load(tmp_path / "run.tftrace")) == [(0, "Linear")]


def test_pytest_under_us_does_not_warn_of_our_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): assert True")
    command = [sys.executable, "-m", "tftrace", "run", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "test_it.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stdout, done.stdout + done.stderr


def test_each_outermost_call_is_a_forward(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text(MODEL + LOOP + "gate.up(torch.ones(1, 4)); Gate()(torch.ones(1, 4))")
    assert ran("--values", "all", "train.py", "--lr", "1") == 0
    trace = tftrace.load("train.tftrace")
    expected = [(at, ("Gate", "MSELoss")[at % 2]) for at in range(12)]
    assert names(trace) == [*expected, (12, "Gate.up"), (13, "Gate-2")]
    assert trace.meta["model"] == "Gate" and trace.meta["complete"]
    assert [s.name for s in trace if s.kind == "module"][:3] == ["Gate", "Gate.up", "Gate.down"]
    assert any(s.kind == "line" and str(s.file).endswith("train.py") for s in trace)
    assert set(trace.checks["verdict"].to_pylist()) == {"holds"}
    # THEN what it printed is what it recorded, and what it would have printed
    printed = [float(line) for line in capsys.readouterr().out.split()]
    assert printed == [float(trace.value(s.step, "")) for s in trace if s.type == "MSELoss"]
    bare: dict[str, Any] = {"__name__": "bare"}
    exec(compile(MODEL, "bare", "exec"), bare)
    assert printed[0] == nn.MSELoss()(bare["gate"](torch.ones(2, 4)), torch.zeros(2, 4)).item()


@pytest.mark.parametrize(
    ("options", "forwards"),
    [
        ("--model-class Gate", [(at, "Gate") for at in range(6)]),
        ("--model-class _Loss", [(at, "MSELoss") for at in range(6)]),
        ("--model-class Linear", [(at, ("Gate.up", "Gate.down")[at % 2]) for at in range(12)]),
        ("--skip 4", [(8, "Gate"), (9, "MSELoss"), (10, "Gate"), (11, "MSELoss")]),
        ("--every 4 --skip 1", [(2, "Gate"), (3, "MSELoss"), (10, "Gate"), (11, "MSELoss")]),
        ("--max-forwards 3 --level ops", [(0, "Gate"), (1, "MSELoss"), (2, "Gate")]),
    ],
)
def test_which_forwards(options: str, forwards: list[tuple[int, str]], ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(MODEL + LOOP)
    assert ran(*options.split(), "-o", "run.tftrace", "train.py") == 0
    assert names(tftrace.load("run.tftrace")) == forwards


def test_what_was_left_out_is_said(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text(MODEL + LOOP)
    ran("--max-forwards", "10", "train.py")
    assert "After 10 forwards there came 2 more" in capsys.readouterr().err
    # AND a program that calls nothing leaves no trace behind
    ran("--model-class", "Nothing", "-o", "none.tftrace", "train.py")
    assert "called no model that fits 'Nothing'" in capsys.readouterr().err
    assert not (tmp_path / "none.tftrace").exists()


# Each forward gives what it is given times its weight: ones, twos, … NaN.
SCALE = """
import torch
class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        loss = (self.weight * x).mean()
        return {"loss": loss, "logits": self.weight * x}

scale = Scale()
for at in range(6):
    scale(torch.full((3,), float(at) if at < 5 else float("nan")))["loss"].backward()
"""


@pytest.mark.parametrize(
    ("when", "forwards"),
    [
        ("loss > 2.5", [3, 4]),
        ("logits.min >= 4", [4]),
        ("nan > 0", [5]),
        ("loss = 1 or nan > 0", [1, 5]),
        ("kind = line and max > 3", [4]),
    ],
)
def test_only_forwards_that_meet_a_condition_are_kept(
    when: str, forwards: list[int], ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scale.py").write_text(SCALE)
    assert ran("--when", when, "--backward", "--values", "all", "scale.py") == 0
    trace = tftrace.load("scale.tftrace")
    assert f"{6 - len(forwards)} forwards did not meet {when!r}" in capsys.readouterr().err
    roots = [s for s in trace if s.parent is None]
    assert [s.forward for s in roots] == forwards
    # THEN what is kept of them is whole: lines, values, verdicts, gradients, and the parameters though they were due
    # with the first forward of all
    assert sum(s.kind == "line" for s in trace) == 2 * len(roots)
    assert [t.name for t in roots[0].tensors if t.role == "parameter"] == ["weight"]
    for root in roots:
        gradients = [(t.name, t.nan) for t in root.tensors if t.role == "gradient"]
        assert sorted(name for name, _ in gradients) == ["loss", "weight"]
        x = trace.value(root.position, "x")
        assert np.array_equal(x, np.full(3, root.forward if root.forward < 5 else np.nan), equal_nan=True)
    kept = sum(file.stat().st_size for file in (tmp_path / "scale.tftrace" / "values").iterdir())
    assert kept < 1200 * len(forwards)  # and nothing of the others


def test_a_condition_that_is_never_met_is_explained(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scale.py").write_text(SCALE)
    monkeypatch.setattr("tftrace.capture.recording._STEPS", 0)  # whatever is due to be written while it runs
    assert ran("--when", "los > 1", "scale.py") == 0
    said = capsys.readouterr().err
    assert "Nothing was recorded" in said and "No step returned or bound a tensor 'los'" in said
    assert ran("--when", "loss >", "scale.py") == 2
    # AND the most forwards that are wanted are counted over those that are kept
    assert ran("--when", "loss > 1", "--max-forwards", "2", "--level", "modules", "scale.py") == 0
    assert names(tftrace.load("scale.tftrace")) == [(2, "Scale"), (3, "Scale")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Name what to run"),
        ("nope.py", "There is no script nope.py"),
        ("-m nope.at.all", "There is no module nope.at.all"),
        ("-- nope-at-all", "There is no command nope-at-all"),
        ("-- sh -c true", "sh is not a Python program"),
        (f"-- {sys.executable} -c 1", "there must be a script"),
        ("--skip -1 x.py", "skip is -1"),
        ("--every 0 x.py", "every is 0"),
        ("--level deep x.py", '"deep"'),
        ("--lr 3 x.py", "There is no option --lr"),
        ("-o x.py x.py", "x.py exists already"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: str, sentence: str, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.py").write_text("raise RuntimeError('it ran')")
    assert ran(*words.split()) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


def test_the_words_after_the_program_are_its_own() -> None:
    # the word after a flag is the program, that after another option its value
    flags = {f"--{one.name}" for one in fields(Options) if one.type in ("Force", "Switch")}
    assert flags | {"--quiet", "--no-check", "--help", "-h"} == run.FLAGS
    assert run.separate_program(["--check", "x.py"]) == ["--check=yes", "--", "x.py"]
    assert run.separate_program(["--check", "all", "x.py", "--check"]) == ["--check=all", "--", "x.py", "--check"]
    assert run.separate_program(["--force", "x.py", "-o", "y"]) == ["--force", "--", "x.py", "-o", "y"]
    assert run.separate_program(["-o", "y", "--level=ops", "-m", "x"]) == ["-o", "y", "--level=ops", "--", "-m", "x"]
    assert run.separate_program(["--", "pytest", "-x"]) == ["--", "--", "pytest", "-x"]


# -- launchers, which start the program in processes of their own ------------------------------------------


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (
            "--force --every 2 --no-check -- torchrun --nproc-per-node 2 train.py --lr 3",
            "torchrun --nproc-per-node 2 --module tftrace run --quiet --level lines --skip 0 --every 2 "
            "--max-forwards 1000 --check no --force --output train.tftrace train.py --lr 3",
        ),
        (
            "-o run.tftrace --model-class Bert* --backward -- accelerate launch --cpu -m package.train -m x",
            "accelerate launch --cpu -m tftrace run --quiet --level lines --model-class Bert* "
            "--skip 0 --every 1 --max-forwards 1000 --backward --output run.tftrace -m package.train -m x",
        ),
    ],
)
def test_a_launcher_starts_tftrace_before_the_script(
    words: str, again: str, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    program = _runner.Program("launcher", ["launcher"], "", __file__)

    def command(words: list[str]) -> _runner.Program:
        started.append(list(words))
        return program

    monkeypatch.setattr(_runner, "command", command)
    monkeypatch.setattr(program, "run", lambda: sys.exit(7))
    assert ran(*words.split()) == 7
    assert started == [again.split()]


@pytest.mark.parametrize("words", ["torchrun --nope x.py", "torchrun --no-python ls", "torchrun"])
def test_a_launcher_that_cannot_start_is_one_sentence(words: str, ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("--", *words.split()) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_two_processes_make_one_trace(tmp_path: Path) -> None:
    script = "import torch, torch.distributed as dist\ndist.init_process_group('gloo')\n" + MODEL
    script += "gate = nn.parallel.DistributedDataParallel(gate)\n"
    script += "gate(torch.full((1, 4), float(dist.get_rank()))).sum().backward()\ndist.destroy_process_group()\n"
    (tmp_path / "train.py").write_text(script)
    command = [sys.executable, "-m", "tftrace", "run", "--backward", "--"]
    done = subprocess.run([*command, "torchrun", "--standalone", "--nproc-per-node=2", "train.py"], cwd=tmp_path)
    assert done.returncode == 0
    trace = tftrace.load(tmp_path / "train.tftrace")
    assert [(s.rank, s.name) for s in trace if s.parent is None] == [(0, "Gate"), (1, "Gate")]
    assert trace.meta["complete"] and sum(t.role == "gradient" for s in trace for t in s.tensors) == 2 * (3 + 4)


# -- whatever is called ------------------------------------------------------------------------------------


def test_a_model_that_is_gone_is_forgotten() -> None:
    recorder = Recorder(None, None, "modules", False, {}, choice=Choice(), open=tftrace.Trace)
    with recorder as trace:
        for _ in range(50):
            nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))(torch.ones(1, 2))
        assert len(recorder._hooks.watched) <= 3
        for _ in range(2):
            nn.MSELoss()(torch.ones(1), torch.ones(1))
    assert names(trace)[-3:] == [(49, "Sequential-50"), (50, "MSELoss"), (51, "MSELoss")]
    assert len(trace) == 152


def test_a_part_that_its_model_calls_is_named_as_its_part() -> None:
    model, inputs = tiny("marian")
    with tftrace.record(level="modules") as trace:
        model.generate(inputs["input_ids"], max_new_tokens=2, do_sample=False)
    assert names(trace)[:2] == [(0, "MarianMTModel.model.encoder"), (1, "MarianMTModel")]
    assert trace.meta["model"] == "MarianMTModel" and trace.meta["config"]["d_model"] == 32


def test_work_waits_for_an_import_and_not_for_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late.py").write_text("done = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    before, seen = list(sys.meta_path), []
    when_imported("late", lambda: seen.append(sys.modules["late"].done))
    assert find_spec("late") is not None
    assert seen == []
    late = import_module("late")

    assert seen == [True] and sys.meta_path == before
    assert late.__spec__ is not None and type(late.__spec__.loader) is type(late.__loader__) is SourceFileLoader
    when_imported("late", lambda: seen.append(False))  # at once
    assert seen == [True, False]
    del sys.modules["late"]


def test_a_compiled_model_is_seen_inside(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner(self.inner(x))

    original = torch.compile
    with tftrace.record() as trace:
        model: Any = torch.compile(Twice(), backend="eager")
        assert torch.compile is original
        result = model(torch.ones(1, 2))
    assert [s.name for s in trace if s.kind == "module"] == ["Twice", "Twice.inner", "Twice.inner"]
    assert torch.equal(result, model._orig_mod(torch.ones(1, 2)))


POOLS = """
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

def later(gate, x):
    time.sleep(0.5)
    return gate(x)

if __name__ == "__main__":  # a process of the pool imports this file, and need not wait for torch
    from model import gate, torch
    gate(torch.ones(2, 4))
    threads = ThreadPoolExecutor(2)
    threads.submit(time.sleep, 0.1).result()
    threads.submit(later, gate, torch.ones(2, 4))
    processes = ProcessPoolExecutor(1, get_context("spawn"))
    processes.submit(time.sleep, 0.1).result()
"""


def test_pools_that_nobody_closes_are_waited_for_until_they_have_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "pools.py").write_text(POOLS)
    command = [sys.executable, "-m", "tftrace", "run", "pools.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sum(step.parent is None for step in tftrace.load(tmp_path / "pools.tftrace")) == 2


def test_a_forked_process_leaves_the_trace_alone() -> None:
    class Rows(torch.utils.data.Dataset[torch.Tensor]):
        scale = nn.Linear(2, 2)

        def __len__(self) -> int:
            return 20

        def __getitem__(self, at: int) -> Any:
            return self.scale(torch.full((2,), float(at))).detach()

    head = nn.ReLU()
    with tftrace.record(level="modules") as trace:
        for batch in torch.utils.data.DataLoader(Rows(), batch_size=10, num_workers=1, multiprocessing_context="fork"):
            head(batch)
    # THEN what the workers called is not recorded, and what came after them is
    assert names(trace) == [(0, "ReLU"), (1, "ReLU")]


def test_to_choose_within_models_they_must_be_named() -> None:
    with pytest.raises(tftrace.TraceError, match="pass the model itself"):
        tftrace.record(layers=[0])


# -- what prepares data is no model ------------------------------------------------------------------------

PICTURES = """
import torch
from torch import nn

class Crop(nn.Module):
    def forward(self, picture):
        at = int(torch.randint(0, 5, ()))
        return picture[..., at : at + 8, at : at + 8]

class Flip(nn.Module):
    def forward(self, picture):
        return picture.flip(-1) if torch.rand(()) < 0.5 else picture

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 2)

    def forward(self, pictures):
        return self.head(self.patches(pictures).flatten(2).mean(-1))

crop, flip = Crop(), Flip()
# MADE FIRST
model = Classifier()
softmax = nn.Softmax(dim=-1)
for _ in range(4):
    batch = torch.stack([flip(crop(torch.rand(3, 12, 12))) for _ in range(6)])
    softmax(model(batch))
"""


def test_crops_and_flips_are_no_forwards_of_a_model(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "look.py").write_text(PICTURES)
    assert ran("--max-forwards", "20", "--level", "modules", "look.py") == 0
    assert names(tftrace.load("look.tftrace")) == [(at, ("Classifier", "Softmax")[at % 2]) for at in range(8)]
    said = capsys.readouterr().err
    assert "48 calls of modules that prepare data (Crop, Flip) are no forwards of a model: --model-class" in said
    # AND what came before there was a model takes no place of the model's forwards
    (tmp_path / "late.py").write_text(PICTURES.replace("# MADE FIRST", "[flip(torch.rand(3, 9, 9)) for _ in range(5)]"))
    assert ran("--max-forwards", "3", "--level", "modules", "late.py") == 0
    kinds = [name for _, name in names(tftrace.load("late.tftrace"))]
    assert [name for name in kinds if name != "Flip"] == ["Classifier", "Softmax", "Classifier"]
    # AND whoever names their class has them
    assert ran("--model-class", "Crop", "--max-forwards", "2", "-o", "crops.tftrace", "look.py") == 0
    assert names(tftrace.load("crops.tftrace")) == [(0, "Crop"), (1, "Crop")]


LEARNERS = """
import torch
from torch import nn

class Attention(nn.Module):
    def forward(self, x):
        return (x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5).softmax(-1) @ x

class Shift(nn.Module):
    def forward(self, x, by):
        return x + by

reference = nn.MultiheadAttention(8, 2)
for made in (Attention(), Shift()):
    made(*[torch.randn(1, 5, 8)] * (1 + isinstance(made, Shift)))
"""


def test_attention_without_parameters_is_recorded_beside_a_model(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LEARNERS)
    assert ran("mine.py") == 0
    assert names(tftrace.load("mine.tftrace")) == [(0, "Attention"), (1, "Shift")]


def test_what_a_data_loader_calls_is_not_recorded() -> None:
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return 2 * x

    class Rows(torch.utils.data.Dataset[torch.Tensor]):
        double = Doubled()

        def __len__(self) -> int:
            return 4

        def __getitem__(self, at: int) -> Any:
            return self.double(torch.full((2,), float(at)))

    double = Doubled()
    with tftrace.record(level="modules") as trace:
        for batch in torch.utils.data.DataLoader(Rows(), batch_size=2):
            double(batch)
    assert names(trace) == [(0, "Doubled"), (1, "Doubled")]
