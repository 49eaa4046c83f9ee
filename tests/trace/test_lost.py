"""A kill or a full disk costs a recording its last batch and the model nothing, and the trace says so."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace import load
from tftrace.cli import main
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.disk.safe_files import read_bytes
from tftrace.trace.writer import TraceWriter

from ..support.builders import attention_trace


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8))

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.parts(x)
        return x + hidden


def forwards(trace: tftrace.Trace) -> set[int]:
    return {step.forward for step in trace if step.depth == 0 and step.status == "returned"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("level", ["modules", "lines"])
def test_a_recording_that_is_killed_after_200_forwards_has_190_of_them(tmp_path: Path, level: str) -> None:
    path, x = tmp_path / "killed.tftrace", torch.randn(2, 8)
    child = os.fork()
    if child == 0:
        model = Net()
        with torch.no_grad(), tftrace.record(model, path=path, level=level, values="all"):
            for _ in range(200):
                model(x)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    trace = load(path)
    assert len(forwards(trace)) >= 190
    assert "did not end" in trace.missing[0]
    # AND what its rows name is there
    for step in trace[-40:]:
        for row in step.tensors:
            assert trace.value(step.position, row.name, row.role).shape == row.shape


def test_a_recording_that_is_killed_before_its_first_rows_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = create_folder(tmp_path / "killed.tftrace", False)
    TraceWriter(path, {"model": "Net"})
    assert load(path).missing == ["The recording was killed before it had written its first steps, or has only begun."]
    others = [["check"], ["nan"], ["explain", "0"], ["compare", str(path)]]
    for name, *more in others:  # which would otherwise find nothing wrong
        assert main([name, str(path), *more]) == 2
        assert "has no steps, as its recording was killed before it had written any" in capsys.readouterr().err


def test_a_batch_that_was_cut_is_said(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    assert trace.missing == []
    file = trace.path / "rank-00000" / "steps.arrow"
    file.write_bytes(file.read_bytes()[:-200])
    trace = load(trace.path)
    assert len(trace) == 0
    (said,) = trace.missing
    assert re.fullmatch(r"rank-00000/steps.arrow ends in \d+ bytes that are not a whole batch of rows: .*", said)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True)
    if not done or done.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)  # a trace that was read may still be mapped


@pytest.mark.parametrize("values", ["none", "all"])
def test_a_disk_that_fills_up_ends_the_recording_and_not_the_model(full: Path, values: str) -> None:
    torch.manual_seed(0)
    model, given = Net(), [torch.randn(2, 8) for _ in range(400)]
    with torch.no_grad():
        bare = [model(x) for x in given]
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        with tftrace.record(model, path=full / "run.tftrace", values=values) as trace:
            watched = [model(x) for x in given]
    assert all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True))
    sentence = r"tftrace stopped recording at step \d+ and the model runs on: the trace cannot be written "
    assert [bool(re.match(sentence + r"\(No space left on device\)\.", str(one.message))) for one in said] == [True]
    # THEN what was written opens, in whole batches
    trace = load(full / "run.tftrace")
    assert 0 < len(forwards(trace)) < 400
    assert not [one for one in trace.missing if "not a whole batch" in one]
    assert [one for one in trace.missing if "the disk was full (No space left" in one] and len(trace.missing) == 1
    assert main(["show", str(trace.path), "--step", "0"]) == 0
    assert not list(trace.path.rglob(".*"))  # no half files


# -- files that are none ------------------------------------------------------------------------------


def test_a_link_or_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    outside = tmp_path / "outside"
    shutil.copytree(trace.path / "rank-00000", outside / "rank-00000")
    shutil.copytree(trace.path / "sources", outside / "sources")
    (outside / "sources" / "toy.py").write_text("secret", encoding="utf-8")
    for name in ("meta.json", "rank-00000", "rank-00000/steps.arrow"):
        path = trace.path / name
        path.rename(tmp_path / "away")
        path.symlink_to(outside / name if name != "meta.json" else tmp_path / "away")
        with pytest.raises(tftrace.TraceError, match="is a link, which a trace may not hold"):
            load(trace.path)
        path.unlink()
        if hasattr(os, "mkfifo") and name != "rank-00000":
            os.mkfifo(path)
            with pytest.raises(tftrace.TraceError, match="not a plain file"):
                load(trace.path)
            path.unlink()
        (tmp_path / "away").rename(path)
    # AND a folder of sources that leads outside has none
    shutil.rmtree(trace.path / "sources")
    (trace.path / "sources").symlink_to(outside / "sources")
    trace = load(trace.path)
    assert all(trace.source(file) == [] for file in trace.meta["sources"])


def test_a_file_beyond_its_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert len(read_bytes(tmp_path, "large", limit=11)) == 11
    with pytest.raises(tftrace.TraceError, match=r"too large to be part of a trace \(11 bytes\)"):
        read_bytes(tmp_path, "large", limit=10)
