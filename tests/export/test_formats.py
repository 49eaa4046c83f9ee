"""Parquet, JSON Lines, JSON and Perfetto, each read by a reader of its own; pipes, interruptions and replacements."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tftrace import Trace
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.export import FORMATS, export
from tftrace.trace import schema

from ..support.builders import Builder, attention_trace, big_trace, hostile_trace


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return big_trace(tmp_path_factory.mktemp("big"), 30_000)


def ranks_trace(folder: Path) -> Trace:
    b = Builder(folder / "ranks.tftrace")
    for rank in (0, 1):
        step = b.step(0, rank=rank, name=f"m{rank}")
        b.tensor(step, schema.INPUT, "x", nan=rank)
    return b.done()


def test_parquet_is_what_duckdb_reads(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    export(trace, tmp_path / "run.parquet")
    found = duckdb.sql(
        f"select name, count(*), max(max) from '{tmp_path}/run.parquet/*/*.parquet' where role is not null "
        "and verdict = 'differs' group by name"
    ).fetchall()
    assert found == [("attention.attend", 1, 4.3)]
    frame = trace.to_pandas()
    table = duckdb.sql(f"from '{tmp_path}/run.parquet/*/*.parquet'")
    assert len(table) == len(frame) and set(table.columns) == set(frame.columns)


def test_parquet_has_a_partition_a_rank(tmp_path: Path) -> None:
    export(ranks_trace(tmp_path), tmp_path / "run.parquet")
    assert sorted(file.parent.name for file in (tmp_path / "run.parquet").rglob("*.parquet")) == ["rank=0", "rank=1"]
    found = duckdb.sql(f"select rank, name, nan from '{tmp_path}/run.parquet/*/*.parquet' order by rank").fetchall()
    assert found == [(0, "m0", 0), (1, "m1", 1)]
    frame = pd.read_parquet(tmp_path / "run.parquet")
    assert sorted(frame["rank"].astype(int)) == [0, 1]


def test_pandas_reads_the_csv_with_the_dtypes_of_to_pandas(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    trace.to_csv(tmp_path / "run.csv")
    frame = trace.to_pandas()
    found = pd.read_csv(tmp_path / "run.csv", dtype=frame.dtypes.to_dict())
    texts = [name for name in frame if frame[name].dtype == frame["name"].dtype]
    for name in texts:  # pandas cannot tell an empty text from a missing one
        frame[name] = frame[name].where(frame[name] != "")
    pd.testing.assert_frame_equal(found, frame)


def test_json_lines_and_json_hold_steps_with_what_they_saw(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    export(trace, tmp_path / "run.jsonl")
    export(trace, tmp_path / "run.json")
    steps = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["steps"] == steps and document["meta"]["model"] == "Model" and len(steps) == len(trace)
    query = next(step for step in steps if step["name"] == "attention.query")
    assert query["source"] == "        query = self.query(x).view(1, 4, 2, 8)"
    assert [(t["role"], t["shape"]) for t in query["tensors"]] == [
        ("input", [1, 2, 8]),
        ("parameter", [8, 8]),
        ("output", [1, 2, 8]),
    ]
    assert query["checks"][0]["verdict"] == "holds" and query["tensors"][0]["name"] == "input"


def test_json_has_no_nan(tmp_path: Path) -> None:
    b = Builder(tmp_path / "t.tftrace")
    b.tensor(b.step(0), schema.INPUT, "x", mean=float("nan"), max=float("inf"))
    export(b.done(), tmp_path / "run.jsonl")
    (tensor,) = json.loads((tmp_path / "run.jsonl").read_text())["tensors"]
    assert tensor["mean"] is None and tensor["max"] is None and tensor["std"] == 0.98


# The fields of the Trace Event Format that a duration needs, and their types.
DURATION: dict[str, Any] = {"name": str, "cat": str, "ph": str, "ts": (int, float), "dur": (int, float),
                            "pid": int, "tid": int, "args": dict}  # fmt: skip


def events(trace: Trace, path: Path) -> list[dict[str, Any]]:
    export(trace, path)
    document = json.loads(path.read_text())
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"} and document["displayTimeUnit"] == "ns"
    found: list[dict[str, Any]] = document["traceEvents"]
    for event in found:
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
        else:
            assert event["ph"] == "X" and event.keys() == DURATION.keys()
            assert all(isinstance(event[name], kind) for name, kind in DURATION.items())
            assert event["ts"] >= 0 and event["dur"] >= 0
    return [event for event in found if event["ph"] == "X"]


def test_a_timeline_is_nested_as_the_steps_are(tmp_path: Path) -> None:
    # GIVEN steps whose recorded durations overlap, for they leave out the time that recording took
    b = Builder(tmp_path / "t.tftrace")
    for start, depth, lasted in [
        (0, 0, 900),
        (10, 1, 300),
        (900, 2, 250),
        (2000, 1, 500),
        (4000, 0, None),
        (4100, 1, 7),
    ]:
        b.step(depth, start_ns=start, duration_ns=lasted, status="open" if lasted is None else "returned")
    trace = b.done()
    found = events(trace, tmp_path / "run.perfetto.json")
    assert [event["dur"] for event in found] == [0.9, 0.3, 0.25, 0.5, 0.007, 0.007]
    for at, event in enumerate(found):
        above = int(trace.parents[at])
        if above >= 0:
            outer = found[above]
            assert outer["ts"] <= event["ts"] and event["ts"] + event["dur"] <= outer["ts"] + outer["dur"] + 1e-9
    assert found[3]["ts"] >= found[1]["ts"] + found[1]["dur"]
    assert found[4]["args"]["status"] == "open"


def test_a_timeline_says_what_a_step_saw(tmp_path: Path) -> None:
    found = events(attention_trace(tmp_path, forwards=2), tmp_path / "run.trace.json")
    attend = [event for event in found if event["name"] == "attend()"]
    assert [event["cat"] for event in attend] == ["function,holds", "function,differs"]
    assert attend[1]["args"]["input"] == {"query": "1×4×2×8 float32"} and attend[1]["args"]["residual"] == 0.2
    assert {(event["pid"], event["tid"]) for event in found} == {(0, 0)}


def test_ranks_are_processes_and_passes_that_overlap_are_rows(tmp_path: Path) -> None:
    b = Builder(tmp_path / "t.tftrace")
    for rank, start in [(0, 0), (0, 100), (0, 700), (1, 0)]:
        b.step(0, rank=rank, start_ns=start, duration_ns=500)
    found = events(b.done(), tmp_path / "run.perfetto.json")
    assert [(event["pid"], event["tid"]) for event in found] == [(0, 0), (0, 1), (0, 0), (1, 0)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_a_strangers_trace_and_goes_into_a_pipe(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = hostile_trace(tmp_path)
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
    export(trace, "-", format=name)
    written = pipe.getvalue()
    assert len(written) > 100
    if name not in ("csv", "parquet"):  # numbers for programs, with the texts as they were
        assert b"\x1b" not in written and "\u202e".encode() not in written


def test_a_format_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(attention_trace(tmp_path).path)
    assert main(["export", path, str(tmp_path / "numbers.txt"), "--format", "csv"]) == 0
    assert (tmp_path / "numbers.txt").read_text().startswith("step,parent")
    assert main(["export", path, "-"]) == 2
    assert "name a format with --format: csv, parquet" in capsys.readouterr().err
    assert main(["export", path, "-", "--format", "xls"]) == 2
    assert "There is no format 'xls'" in capsys.readouterr().err
    assert main(["export", path, str(tmp_path / "run.csv"), "--depth", "2"]) == 2
    assert "--depth is for mermaid, dot, svg" in capsys.readouterr().err


def test_only_a_folder_that_an_export_wrote_is_replaced(tmp_path: Path) -> None:
    trace, target = attention_trace(tmp_path), tmp_path / "run.parquet"
    export(trace, target)
    with pytest.raises(TraceError, match="exists already"):
        export(trace, target)
    export(ranks_trace(tmp_path), target, overwrite=True)
    assert len(list(target.iterdir())) == 2
    (target / "mine.txt").write_text("kept")
    for path in (target, tmp_path):
        with pytest.raises(TraceError, match="a folder that no export wrote"):
            export(trace, path, overwrite=True, format="parquet")
    assert (target / "mine.txt").read_text() == "kept"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(("name", "number", "code"), [("csv", signal.SIGTERM, 143), ("jsonl", signal.SIGINT, 130)])
def test_being_told_to_end_leaves_no_half_file(big: Trace, tmp_path: Path, name: str, number: int, code: int) -> None:
    # the finished file is not put in its place before the signal has come, however busy the machine is
    late = "import os, sys, time; os.replace = lambda *names: time.sleep(60)"
    program = f"{late}; from tftrace.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "export", str(big.path), str(tmp_path / f"run.{name}")]
    # a shell that runs the tests in the background has interrupts ignored
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.part")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    assert process.wait(timeout=60) == code, process.stderr and process.stderr.read()
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough(big: Trace) -> None:
    command = [sys.executable, "-m", "tftrace", "export", str(big.path), "-", "--format", "csv"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert os.read(process.stdout.fileno(), 100).startswith(b"step,parent")
    process.stdout.close()
    assert process.wait(timeout=60) == 0 and process.stderr.read() == b""
