"""A disk that fills up, or a folder that is gone: the model runs on, nothing is raised out of the block, it is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace import load
from tftrace.cli import main
from tftrace.trace.disk.folder import add_in_place, write_json
from tftrace.trace.scalars import NumbersWriter, numbers
from tftrace.trace.writer import TraceWriter

from ..support.full_disk import Disk

FULL = r"the disk was full \(No space left on device\)"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.norm(x))


def open_files() -> set[str]:
    """What this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return {str(file.readlink()) for file in folder.iterdir() if file.is_symlink()} if folder.is_dir() else set()


def left_open(folder: Path) -> list[str]:
    return [file for file in open_files() if file.startswith(str(folder))]


def is_said(path: Path, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By meta.json, `info` and `show`, and nowhere that it was killed."""
    trace = load(path)
    assert trace.meta["complete"] is False
    assert [one for one in trace.missing if sentence in one] and "killed" not in " ".join(trace.missing)
    for command in ("info", "show"):
        assert main([command, str(path)]) == 0
        out = capsys.readouterr().out
        assert sentence in out and "killed" not in out


# -- at the start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 150, 3000, 4500, 5500])
def test_a_disk_that_is_full_at_the_start_is_a_sentence(disk: Disk, tmp_path: Path, room: int) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    before = open_files()
    disk.left = room
    with pytest.raises(tftrace.TraceError, match=rf"cannot be written to .*{FULL}\): make room, or choose"):
        tftrace.record(model, path).__enter__()
    # THEN nothing is left: no folder, no open file, no hook, and the next one begins
    assert open_files() == before and not list(tmp_path.iterdir())
    disk.left = 1 << 60
    with tftrace.record(model, path):
        model(torch.ones(1, 8))
    assert load(path).missing == []


@pytest.mark.parametrize("room", [0, 1, 150, 3000, 4500, 5500])
def test_what_was_to_be_replaced_is_there_again(disk: Disk, tmp_path: Path, room: int) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    with tftrace.record(model, path):
        model(torch.ones(1, 8))
    disk.left = room
    recorder = tftrace.record(model, path, overwrite=True)
    with pytest.raises(tftrace.TraceError, match=FULL):
        recorder.__enter__()
    assert len(load(path)) and load(path).missing == [] and list(tmp_path.iterdir()) == [path]
    disk.left = 1 << 60
    with recorder as trace:
        pass
    assert len(trace) == 0


def test_no_room_for_a_trace_without_a_path(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    disk.left = 150
    with pytest.raises(tftrace.TraceError, match=FULL):
        tftrace.record(Net()).__enter__()

    def no_folder(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.TemporaryDirectory", no_folder)
    with pytest.raises(tftrace.TraceError, match=r"There is no room for temporary files .* pass path="):
        tftrace.record(Net()).__enter__()
    assert open_files() == before


# -- while the model runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["none", "all"])
@pytest.mark.parametrize("room", [0, 100, 2000, 20_000, 100_000])
def test_a_disk_that_fills_up_while_the_model_runs(
    disk: Disk, tmp_path: Path, room: int, values: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, given = Net(), [torch.randn(2, 8) for _ in range(300)]
    with torch.no_grad():
        bare = [model(x) for x in given]
    path = tmp_path / "run.tftrace"
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        with tftrace.record(model, path, values=values):
            disk.left = room
            watched = [model(x) for x in given]
    assert all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True))
    assert ["No space left on device" in str(one.message) for one in said] == [True]
    assert not left_open(tmp_path) and not list(path.rglob(".*"))
    is_said(path, "the disk was full (No space left on device)", capsys)


@pytest.mark.parametrize("strict", [False, True])
def test_a_disk_that_is_full_at_the_end(
    disk: Disk, tmp_path: Path, strict: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("error" if strict else "always")
        with tftrace.record(model, path, check=False) as trace:
            model(torch.ones(1, 8))
            disk.left = 0
        assert len(trace) > 0
    if not strict:  # else it would be an error, which the model's code is not to see
        (one,) = said
        assert str(one.message) == f"tftrace could not write the end of {path}: {FULL}.".replace("\\", "")
    assert not left_open(tmp_path)
    is_said(path, "the disk was full (No space left on device)", capsys)


FILES: dict[str, Callable[[Path], bool]] = {
    "values": lambda path: path.parent.name == "values",
    "sources": lambda path: path.parent.name == "sources",
    "meta.json": lambda path: path.name.startswith(".meta.json"),
}


@pytest.mark.parametrize("what", [*FILES, "steps", "tensors", "checks", "numbers"])
def test_whatever_file_has_no_room(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, full = os.write, OSError(28, "No space left on device")

    def has_no_room(file: Path) -> bool:
        return FILES[what](file) if what in FILES else file.name == f"{what}.arrow"

    path, model, begun = tmp_path / "run.tftrace", Net(), False

    def narrow(file: int, content: bytes) -> int:
        if begun and has_no_room(Path(f"/proc/self/fd/{file}").readlink()):
            raise full
        return write(file, content)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs to know the names of open files")
    monkeypatch.setattr(os, "write", narrow)
    with pytest.warns(RuntimeWarning, match="No space left on device"), tftrace.record(model, path, values="all"):
        begun = True
        result = model(torch.ones(1, 8))
    assert torch.equal(result, model(torch.ones(1, 8)))
    assert not left_open(tmp_path)
    is_said(path, "the disk was full (No space left on device)", capsys)


def test_a_trace_of_a_function(disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    traced: Any = tftrace.traced(path=path)(lambda x: model(x))
    traced(torch.ones(1, 8))
    assert load(path).missing == []
    disk.left = 0
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        traced(torch.ones(2, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert traced(torch.ones(2, 8)).shape == (2, 8)
    is_said(path, "the disk was full (No space left on device)", capsys)


def test_there_is_no_room_for_a_forward_that_is_kept(disk: Disk, tmp_path: Path) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    traced: Any = tftrace.traced(path=path, when="nan == 0")(lambda x: model(x))
    traced(torch.ones(1, 8))
    disk.left = 150
    before = open_files()
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert traced(torch.ones(2, 8)).shape == (2, 8)
    assert open_files() <= before
    assert {step.forward for step in load(path)} == {0}


# -- the numbers of checks, whose file is opened late and closed once ----------------------------------


def test_numbers_of_later_calls_are_written(tmp_path: Path) -> None:
    norm, path = nn.LayerNorm(8, eps=1e-3), tmp_path / "run.tftrace"

    @tftrace.traced(path=path, when="nan == 0")
    def step(x: torch.Tensor) -> Any:
        return norm(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for eps in (1e-3, 1e-4, 1e-4, 1e-5):
            norm.eps = eps
            step(torch.randn(2, 8))
    trace = load(path)
    assert trace.missing == [] and {one.forward for one in trace} == {0, 1, 2, 3}
    found = [numbers(trace, one.position, one.checks[0].equation) for one in trace if one.type == "LayerNorm"]
    assert [one["e"] for one in found] == [1e-3, 1e-4, 1e-4, 1e-5]


def test_a_stream_is_closed_once(tmp_path: Path) -> None:
    """The number of a closed file is soon another file's, which may be the user's."""
    writer = NumbersWriter(tmp_path)
    writer.note(0, "norm", "layer_norm", {"eps": 1e-5})
    writer.close()
    with open(tmp_path / "mine", "w+b") as mine:
        writer.close()
        mine.write(b"years of work")
        mine.flush()
    assert (tmp_path / "mine").read_bytes() == b"years of work"


# -- a folder that is gone ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["modules", "lines"])
@pytest.mark.parametrize("path", ["run.tftrace", "below/../run.tftrace", "./run.tftrace"])
def test_a_program_may_go_to_another_folder(
    path: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    model = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder = tftrace.record(model, path, level=level, values="all")
        with recorder as trace:
            os.chdir(tmp_path / "below")
            model(torch.ones(1, 8))
    assert trace.path.is_absolute() and len(trace) and trace.missing == []
    assert trace.path.resolve() == tmp_path / "run.tftrace" and list((tmp_path / "below").iterdir()) == []
    assert trace.value(0, "", "output").shape == (1, 8)


def test_a_function_may_go_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    model = Net()
    traced: Any = tftrace.traced(path="run.tftrace")(lambda x: model(x))
    for folder in (tmp_path / "below", tmp_path):
        traced(torch.ones(1, 8))
        os.chdir(folder)
    assert {step.forward for step in traced.trace} == {0, 1} and list((tmp_path / "below").iterdir()) == []


@pytest.mark.parametrize("values", ["none", "all"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_that_vanishes_is_a_warning(tmp_path: Path, moment: str, values: str) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tftrace.record(model, path, values=values) as trace:
            if moment == "before":
                shutil.rmtree(path)
            result = model(torch.ones(1, 8))
            if moment == "after":
                shutil.rmtree(path)
    assert torch.equal(result, model(torch.ones(1, 8)))
    (one,) = said
    assert "folder was moved, deleted or replaced" in str(one.message)
    assert not path.exists() and not left_open(tmp_path)
    assert repr(trace).startswith(f"<Trace {str(path)!r}")  # a debugger shows its variables whatever they are


def test_a_folder_that_is_another_traces_by_now_is_left_alone(tmp_path: Path) -> None:
    model, path = Net(), tmp_path / "run.tftrace"
    traced: Any = tftrace.traced(path=path)(lambda x: model(x))
    with pytest.warns(RuntimeWarning, match="moved, deleted or replaced"), tftrace.record(model, path, values="all"):
        model(torch.ones(1, 8))
        with tftrace.record(model, path, values="all", overwrite=True, meta={"mine": 1}):
            model(torch.ones(1, 8))
            model(torch.ones(1, 8))
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        model(torch.ones(1, 8))
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert load(path).missing == [] and load(path).meta["mine"] == 1
    with pytest.raises(tftrace.TraceError, match="exists already"):
        traced(torch.ones(1, 8))


# -- what is said -------------------------------------------------------------------------------------


def test_there_is_room_in_meta_json_for_what_ended_the_recording(disk: Disk, tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, {"model": "Net"})
    disk.left = 0
    writer.fail("the disk was full" + "é" * 500)
    content = (tmp_path / "meta.json").read_bytes()
    meta = json.loads(content)
    assert meta["failure"].startswith("the disk was fullé") and meta["model"] == "Net" and meta["complete"] is False
    writer.fail("and again")
    assert (tmp_path / "meta.json").read_bytes() == content
    writer.abandon()


@pytest.mark.parametrize("content", [{}, {"a": {"b": [1, "é\n"]}, "c": float("inf"), 7: None, "path": Path("x")}])
def test_a_file_has_an_entry_a_line_and_room_for_one_more(content: dict[Any, Any], tmp_path: Path) -> None:
    file, same = tmp_path / "meta.json", json.loads(json.dumps(content, default=str))
    write_json(file, content, room=100)
    lines = file.read_text(encoding="utf-8").rstrip().splitlines()
    assert lines[0] == "{" and lines[-1] == "}" and len(lines) == max(len(content), 1) + 2
    assert json.loads(file.read_bytes()) == same
    add_in_place(file, "failure", "it was full")
    assert json.loads(file.read_bytes()) == same | {"failure": "it was full"}
    with pytest.raises(OSError, match="No space left"):
        add_in_place(file, "failure", "again")


def test_the_command_says_that_the_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.tftrace"
    for room, sentence in ((0, "cannot be written to"), (60_000, "The trace is not whole, as the disk was full")):
        with monkeypatch.context() as patch:
            Disk(patch).left = room
            assert main(["record", "demo:bert", "-o", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("tftrace: ") and sentence in err and err.count("\n") == 1, err
        assert "the disk was full (No space left on device)" in err and "make room" in err
        assert path.exists() is bool(room)
    assert "'tftrace view" in err and "killed" not in " ".join(load(path).missing)
    assert main(["record", "demo:bert", "-o", str(path), "--force"]) == 0


def test_what_the_model_cannot_write_is_no_failed_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offload(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nn.LayerNorm, "forward", offload)
    assert main(["record", "demo:bert", "-o", str(tmp_path / "run.tftrace")]) == 2
    err = capsys.readouterr().err
    assert "The disk is full" in err and "forward pass failed" not in err and err.count("\n") == 1


PROGRAM = """
import os, shutil, sys
import torch
model = torch.nn.Linear(4, 4)
model(torch.ones(1, 4))
what = sys.argv[1]
if what == "chdir":
    os.mkdir("below"); os.chdir("below")
elif what == "delete":
    shutil.rmtree("run.tftrace")
elif what == "full":
    def full(*_):
        raise OSError(28, "No space left on device")
    os.write = full
model(torch.ones(1, 4))
print("done")
sys.exit(3)
"""


@pytest.mark.parametrize("what", ["chdir", "delete", "full"])
def test_a_program_ends_as_it_would(what: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tftrace", "run", "-o", "run.tftrace", "train.py", what]
    environment = {**os.environ, "PYTHONPATH": str(Path(tftrace.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 3 and done.stdout == "done\n" and "Traceback" not in done.stderr, done.stderr
    if what == "chdir":
        assert load(tmp_path / "run.tftrace").missing == [] and "RuntimeWarning" not in done.stderr
    elif what == "delete":
        assert "folder was moved, deleted or replaced" in done.stderr
    else:
        assert "No space left on device" in done.stderr
        (said,) = load(tmp_path / "run.tftrace").missing
        assert "the disk was full" in said
