"""Writing and reading a trace: as a tree, after a kill, cut short, forged, and from several ranks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace import Trace, load
from tftrace.errors import TraceError
from tftrace.trace import schema
from tftrace.trace import writer as trace_writer
from tftrace.trace.arrays import column_of, indices, numpy_of, repeated
from tftrace.trace.writer import TableFile, TraceWriter

from ..support import synthetic
from ..support.builders import Builder, attention_trace, tree_trace

offline = settings(derandomize=True, deadline=None, max_examples=40)


# -- the tree ---------------------------------------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    """Depths as a recording gives them: at most one deeper than the step before."""
    depths: list[int] = []
    for limit in draw(st.lists(st.integers(0, 6), min_size=1, max_size=60)):
        depths.append(min(limit, depths[-1] + 1 if depths else 0))
    return depths, draw(st.sets(st.integers(0, len(depths) - 1)))


@given(trees())
@offline
def test_the_tree_is_what_the_depths_say(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    depths, lines = tree
    trace = tree_trace(tmp_path_factory.mktemp("tree"), depths, lines)
    for at, depth in enumerate(depths):
        parent = next((i for i in reversed(range(at)) if depths[i] < depth), None)
        end = next((i for i in range(at + 1, len(depths)) if depths[i] <= depth), len(depths))
        children = [i for i in range(at + 1, end) if depths[i] == depth + 1]
        call = at
        while call in lines and depths[call] > 0:
            call = next(i for i in reversed(range(call)) if depths[i] < depths[call])
        assert (trace.parent(at), int(trace.ends[at]), trace.children(at)) == (parent, end, children)
        assert trace.call_of(at) == call
        step = trace[at]
        assert (step.parent.position if step.parent else None) == parent
        assert [c.position for c in step.children] == children and step.call.position == call


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    assert len(trace) == 30 and trace[-1].step == 29
    query = next(s for s in trace if s.name == "attention.query")
    assert [t.role for t in query.tensors] == ["input", "parameter", "output"]
    assert query.tensors[1].shape == (8, 8)
    assert [c.verdict for c in query.checks] == ["holds"]
    # AND a later call shows the parameters of the first
    later = [s for s in trace if s.name == "attention.query"][1]
    assert [t.name for t in later.tensors if t.role == "parameter"] == ["weight"]
    assert query.source[0].strip().startswith("query = ")


@pytest.mark.parametrize("table", [None, *schema.TABLES])
def test_to_pandas(tmp_path: Path, table: str | None) -> None:
    trace = attention_trace(tmp_path)
    frame = trace.to_pandas(table)
    assert len(frame) > 0
    if table is not None:
        assert list(frame.columns) == schema.TABLES[table].names
        assert len(frame) == len(getattr(trace, table))
    with pytest.raises(TraceError, match="There is no table 'nothing'"):
        trace.to_pandas("nothing")


# -- while it is written, and after a kill ----------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TableFile, TraceWriter
def row(step, status):
    return (step, None if step == 0 else 0, min(step, 1), 0, 0, "module", f"m{step}", "T", 0, *([None] * 7), step, None,
            status, None)
writer = TraceWriter(create_folder(sys.argv[1], overwrite=False), {})
writer.add("steps", row(0, "open"))
for step in range(1, 50):
    writer.add("steps", row(step, "returned"))
writer.flush()
writer.add("steps", row(50, "returned"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "killed.tftrace"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    trace = load(folder)
    assert [s.status for s in trace] == ["open"] + ["returned"] * 49
    assert trace.meta["complete"] is False and trace.children(0) == list(range(1, 50))


def test_a_trace_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "live.tftrace")
    trace = load(builder.folder)
    assert len(trace) == 0 and list(trace) == []
    builder.step(0)
    builder.writer.flush()
    assert len(trace) == 0
    trace.reload()
    assert len(trace) == 1


# -- damaged ----------------------------------------------------------------------------------------


def look(folder: Path) -> int:
    """Everything a reader may ask of a trace; the number of its steps."""
    trace = load(folder)
    for step in trace:
        _ = step.tensors, step.checks, step.parent, step.children, step.call, trace.source(step.file)
    for table in (None, *schema.TABLES):
        trace.to_pandas(table)
    return len(trace)


FILES = ["rank-00000/steps.arrow", "rank-00000/tensors.arrow", "rank-00000/checks.arrow", "meta.json"]


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_at_any_length_opens_with_less_or_is_refused(tmp_path: Path, file: str) -> None:
    folder = attention_trace(tmp_path).path
    whole = (folder / file).read_bytes()
    full = look(folder)
    for length in range(0, len(whole), 1 if len(whole) < 2000 else len(whole) // 150):
        (folder / file).write_bytes(whole[:length])
        with contextlib.suppress(TraceError):
            assert look(folder) <= full


FLIP = """
import sys
from pathlib import Path
from random import Random
from tests.trace.test_trace import look
from tftrace.errors import TraceError
folder, file, start = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
whole, path = (folder / file).read_bytes(), folder / file
for case in range(start, start + 100):
    draw, data = Random(case), bytearray(whole)
    for _ in range(draw.choice((1, 1, 4))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    try:
        look(folder)
    except TraceError:
        pass
    except BaseException as error:
        print("case", case, type(error).__name__, error, flush=True)
        raise
"""


@pytest.mark.parametrize("file", FILES)
def test_flipped_bits_are_refused_or_harmless(tmp_path: Path, file: str) -> None:
    # In a process of its own, since a crash is what is looked for.
    folder = attention_trace(tmp_path).path
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    done = subprocess.run([sys.executable, "-c", FLIP, str(folder), file, "0"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-1500:]


# -- meta.json --------------------------------------------------------------------------------------


def forged(folder: Path, change: Any) -> Path:
    path = attention_trace(folder).path
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    (path / "meta.json").write_text(change if isinstance(change, str) else json.dumps(meta | change), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("not json", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("[]", "names no schema"),
        ("{}", "names no schema"),
        ({"schema": "1"}, "names no schema"),
        ({"schema": 99}, "newer tftrace .schema 99.: upgrade"),
        ('{"schema": ' + "9" * 5000 + "}", "is damaged|newer"),
    ],
)
def test_meta_that_is_none(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        load(forged(tmp_path, change))


def test_a_huge_meta_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tftrace.trace.reader._META_LIMIT", 100)
    with pytest.raises(TraceError, match="too large"):
        load(forged(tmp_path, {}))


@pytest.mark.parametrize("value", [None, 3, "text", [1], {"attention": 3}, {"toy.py": ["x"]}])
def test_meta_of_wrong_types_is_harmless(tmp_path: Path, value: Any) -> None:
    assert look(forged(tmp_path, {"sources": value, "equations": value})) == 15


@pytest.mark.parametrize(
    "name", ["../../secret.py", "/etc/passwd", "..", ".", "", "a/../../secret.py", "link.py", "x\0y"]
)
def test_sources_reach_nothing_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.py").write_text("secret", encoding="utf-8")
    path = forged(tmp_path, {"sources": {"toy.py": name}})
    (path / "sources" / "link.py").symlink_to(tmp_path / "secret.py")
    assert load(path).source("toy.py") == []


def test_links_in_the_place_of_tables_and_sources_are_not_followed(tmp_path: Path) -> None:
    path = forged(tmp_path, {})
    table = path / FILES[0]
    table.rename(tmp_path / "elsewhere.arrow")
    table.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(TraceError, match="is a link"):
        load(path)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    path = forged(tmp_path, {})
    (path / file).unlink()
    with pytest.raises(TraceError, match="check the"):
        load(path)


def test_no_trace_at_all(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="There is no trace at"):
        load(tmp_path / "nothing")
    with pytest.raises(TraceError, match="not a readable trace"):
        load(tmp_path)


# -- ranks ------------------------------------------------------------------------------------------


def test_several_ranks_are_one_trace(tmp_path: Path) -> None:
    builders = [Builder(tmp_path / "many.tftrace")]
    other = Builder.__new__(Builder)
    other.__dict__.update(
        builders[0].__dict__ | {"writer": TraceWriter(builders[0].folder, {}, rank=1), "_running": []}
    )
    other.count = 0
    for rank, builder in enumerate([builders[0], other]):
        for depth in (0, 1, 1):
            step = builder.step(depth, rank=rank, name=f"r{rank}")
            builder.tensor(step, schema.INPUT, f"rank{rank}")
        builder.writer.close()
    trace = load(builders[0].folder)
    assert [s.rank for s in trace] == [0, 0, 0, 1, 1, 1]
    assert [trace.parent(i) for i in range(6)] == [None, 0, 0, None, 3, 3]
    assert [s.tensors[0].name for s in trace] == ["rank0"] * 3 + ["rank1"] * 3


def test_indexing(tmp_path: Path) -> None:
    trace: Trace = tree_trace(tmp_path, [0, 1, 2])
    assert [s.position for s in trace[1:]] == [1, 2] and trace[-1].position == 2
    with pytest.raises(IndexError):
        trace[3]


def test_the_head_of_a_trace_has_whole_forwards_only(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "long.tftrace", 30_000)
    whole, head = Trace(path), Trace(path, head=True)
    assert whole.whole
    assert not head.whole
    roots = np.flatnonzero(whole.parents < 0)
    assert len(head) in roots  # it ends where a forward begins
    assert 4096 <= len(head) < len(whole)
    for name in ("step", "name", "duration_ns"):
        assert head.column(name).tolist() == whole.column(name)[: len(head)].tolist()
    assert head[7].tensors == whole[7].tensors
    # WHEN the rest has been read elsewhere, the same object has it
    head.become(whole)
    assert len(head) == len(whole)
    assert head.whole
    assert head[len(whole) - 1].name == whole[len(whole) - 1].name
    short = attention_trace(tmp_path)
    assert Trace(short.path, head=True).whole


def test_numbers_are_those_of_arrow() -> None:
    for column in (
        pa.chunked_array([[1, None], [3]], pa.int64()),
        pa.chunked_array([[1.5, None]], pa.float64()),
        pa.chunked_array([[1, 2]], pa.int64()),
        pa.chunked_array([], pa.int64()),
        pa.chunked_array([pa.array([5, None, 7, None], pa.int32()).slice(1, 3)]),
    ):
        found = numpy_of(column)
        assert found.dtype == column.to_numpy().dtype
        np.testing.assert_array_equal(found, column.to_numpy())
        np.testing.assert_array_equal(numpy_of(column, missing=-1), column.fill_null(-1).to_numpy())
    assert indices(np.array([3, 1])).to_pylist() == [3, 1]


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_COLUMNS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): _TEXTS,
    pa.binary(): st.binary(max_size=4),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(0, 9), max_size=3),
}


@given(st.data(), st.sampled_from(list(_COLUMNS)))
@offline
def test_columns_are_those_that_pyarrow_makes(data: st.DataObject, kind: pa.DataType) -> None:
    values = data.draw(st.lists(st.none() | _COLUMNS[kind], max_size=9))
    column = column_of(values, kind)
    column.validate(full=True)
    assert column.equals(pa.array(values, kind)) and column.null_count == values.count(None)
    for many in (1, 2000):
        at = np.array([2, 0, 0] * many) % max(len(values), 1) if values else np.zeros(0, int)
        assert repeated(values, kind, at).equals(pa.array([values[one] for one in at], kind))


def test_columns_of_what_does_not_fit() -> None:
    assert column_of(["a\ud800b", "é"], pa.string()).to_pylist() == ["a?b", "é"]
    for values, kind in (([1, "a"], pa.string()), ([2**63], pa.int64())):
        with pytest.raises((TypeError, pa.ArrowInvalid, OverflowError)):
            column_of(values, kind)


def test_a_table_is_compressed_when_it_has_become_long(tmp_path: Path) -> None:
    table = TableFile(tmp_path / "steps.arrow", schema.CHECKS)
    rows = column_of(["mean"] * 1000, pa.string())
    for _ in range(20):
        columns = [rows if kind == pa.string() else column_of([1] * 1000, kind) for kind in schema.CHECKS.types]
        batch = pa.RecordBatch.from_arrays(columns, schema=schema.CHECKS)
        table.write(batch)
    table.close()
    content = (tmp_path / "steps.arrow").read_bytes()
    with pa.ipc.open_stream(content) as stream:
        assert len(content) < 400_000 < 20 * batch.nbytes and stream.read_all().num_rows == 20_000


@pytest.mark.parametrize("compress", [False, True])
def test_an_interrupted_batch_leaves_room_for_the_next(
    tmp_path: Path, compress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_writer, "_PLAIN", 0)
    table, write = TableFile(tmp_path / "steps.arrow", schema.CHECKS, compress), os.write
    columns = [column_of(["a"] if kind == pa.string() else [1], kind) for kind in schema.CHECKS.types]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema.CHECKS)

    def interrupted(file: Any = None, content: bytes = b"") -> None:
        if content:
            write(file, content[: len(content) // 2])
        raise KeyboardInterrupt

    for owner, name in [(trace_writer, "_empty")] * compress + [(os, "write")]:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, interrupted)
            table.write(batch)
    table.write(batch)
    table.close()
    with pa.ipc.open_stream((tmp_path / "steps.arrow").read_bytes()) as stream:
        assert stream.read_all().num_rows == 1
