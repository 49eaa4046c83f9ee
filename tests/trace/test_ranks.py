"""Several processes of one run: one folder, one table, each step with the tensors of its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tftrace import Trace, load
from tftrace.capture.process import process
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.trace import schema
from tftrace.trace.disk.folder import check_folder, create_folder
from tftrace.trace.writer import TraceWriter

from ..support.builders import Builder

SCRIPT = """
import sys, torch, tftrace
from torch import nn
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
plain = vars(torch.distributed.ProcessGroup)["allreduce"]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.part(x)
        torch.distributed.all_reduce(hidden)
        return hidden

torch.manual_seed(0)
model = Net()
with torch.no_grad(), tftrace.record(model, path=sys.argv[1], values="all") as trace:
    for _ in range(1 + rank):
        given = torch.full((2, 4), float(rank))
        model.part(given) if _ else model(given)
assert vars(torch.distributed.ProcessGroup)["allreduce"] is plain
torch.distributed.destroy_process_group()
"""


def test_two_processes_under_torchrun_make_one_trace(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    path = tmp_path / "run.tftrace"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(path)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    trace = load(path)
    assert trace.missing == [] and trace.meta["complete"] is True and trace.meta["world"] == 2
    assert list(trace.meta["sources"]) and all(trace.source(file) for file in trace.meta["sources"])
    ranks = [step.rank for step in trace]
    assert ranks == sorted(ranks) and set(ranks) == {0, 1}
    # THEN each step has its parent, its tensors and its verdicts in its own process
    for step in trace:
        assert step.parent is None or (step.parent.rank, step.parent.step) == (step.rank, step.parent_step)
        assert all(child.rank == step.rank for child in step.children)
    parts = [step for step in trace if step.name == "part"]
    assert [step.rank for step in parts] == [0, 1, 1]
    for step in parts:
        assert trace.value(step.position, "input").tolist() == [[step.rank] * 4] * 2
        assert [c.verdict for c in step.checks] == ["holds"]
        assert [t.name for t in step.tensors if t.role == "parameter"] == ["weight", "bias"]
    roots = [step for step in trace if step.depth == 0 and step.type == "Net"]
    first, second = (trace.value(step.position, "").tolist() for step in roots)
    assert first == second  # both have the sum, though the version of the tensor does not count it
    assert trace.value(parts[0].position, "").tolist() != trace.value(parts[1].position, "").tolist()


# -- one folder ---------------------------------------------------------------------------------------


def join(path: Path, rank: int, launch: str = "launch", overwrite: bool = False, world: int = 2) -> Path:
    """Record one step as a rank of a launch."""
    folder = create_folder(path, overwrite, rank=rank, launch=launch)
    writer = TraceWriter(folder, {"world": world, "launch": launch, "model": f"of {rank}"}, rank, shared=True)
    row = dict.fromkeys(schema.STEPS.names) | {"step": 0, "depth": 0, "forward": 0, "rank": rank, "name": launch}
    writer.add("steps", tuple(row.values()))
    writer.meta["lost"] = ["Lines are not recorded."]
    writer.close()
    return folder


def seen(trace: Trace) -> list[tuple[int, str]]:
    return [(step.rank, step.name) for step in trace]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_whoever_comes_first_makes_the_folder(tmp_path: Path, order: tuple[int, int]) -> None:
    for rank in order:
        path = join(tmp_path / "run.tftrace", rank)
    trace = load(path)
    assert seen(trace) == [(0, "launch"), (1, "launch")]
    assert trace.meta["model"] == "of 0" and trace.missing == ["Lines are not recorded."]


def test_a_rank_that_is_not_there_is_named(tmp_path: Path) -> None:
    trace = load(join(tmp_path / "run.tftrace", 1, world=4))
    assert seen(trace) == [(1, "launch")] and trace.meta["complete"] is True
    assert trace.missing[0] == "Of the 4 processes of the run 3 have recorded nothing: ranks 0, 2, 3."
    # AND one that was killed before its files were there is none
    (trace.path / "rank-00000").mkdir()
    trace.reload()
    assert seen(trace) == [(1, "launch")] and "3 have recorded nothing: ranks 0, 2, 3." in trace.missing[0]


def test_one_that_did_not_end_is_said_whatever_the_others_say(tmp_path: Path) -> None:
    path = join(tmp_path / "run.tftrace", 0)
    TraceWriter(create_folder(path, False, rank=1, launch="launch"), {"world": 2, "launch": "launch"}, 1, shared=True)
    trace = load(path)
    assert trace.meta["complete"] is False and "did not end" in trace.missing[0]


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = join(tmp_path / "run.tftrace", 0)
    for rank, launch in ((0, "launch"), (0, "later"), (1, "later")):
        with pytest.raises(TraceError, match="exists already"):
            join(path, rank, launch)
        with pytest.raises(TraceError, match="exists already"):
            check_folder(path, False, rank=rank, launch=launch)
    # WHEN a later launch replaces it, THEN the first of its ranks does and the others join
    join(path, 1, "later", overwrite=True)
    assert seen(load(path)) == [(1, "later")]
    join(path, 0, "later", overwrite=True)
    assert seen(load(path)) == [(0, "later"), (1, "later")]
    # AND the same launch replaces its own rank only
    join(path, 0, "later", overwrite=True)
    assert seen(load(path)) == [(0, "later"), (1, "later")]
    assert not [p for p in tmp_path.iterdir() if p != path] and not [p for p in path.iterdir() if p.name[0] == "."]


def test_ranks_that_come_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    path = Builder(tmp_path / "run.tftrace").done().path
    for launch in ("one", "two", "three"):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda rank: join(path, rank, launch, overwrite=True, world=8), range(8)))  # noqa: B023
        assert seen(load(path)) == [(rank, launch) for rank in range(8)]


@pytest.mark.parametrize(
    ("rank", "world", "expected"),
    [
        ("1", "2", (1, 2)), ("0", "1", (0, 1)), ("", "", (0, 1)), ("2", "2", (0, 1)), ("x", "2", (0, 2)),
        ("-1", "2", (0, 2)), ("1", "9" * 5000, (0, 1)),
    ],
)  # fmt: skip
def test_the_rank_is_read_from_the_environment(
    rank: str, world: str, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    found = process()
    assert found[:2] == expected and (found.launch is None) == (expected[1] == 1)


def test_the_command_joins_the_trace_of_its_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, code in (("0", 0), ("1", 0), ("1", 2)):
        monkeypatch.setenv("RANK", rank)
        assert main(["record", "demo:bert", "--level", "modules"]) == code
    assert [p.name for p in tmp_path.iterdir()] == ["bert.tftrace"]
    assert {rank for rank, _ in seen(load(tmp_path / "bert.tftrace"))} == {0, 1}
