"""`--force` and `overwrite=True` replace what is wholly a trace, or an export, and delete nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace import load
from tftrace.cli import main
from tftrace.export import export
from tftrace.maintain.merge import merge
from tftrace.trace import notes
from tftrace.trace.disk.folder import check_folder, create_folder, new_folder

from ..support.builders import attention_trace
from .test_ranks import join

Content = dict[str, bytes | str | None]

FOREIGN = (
    ".git/HEAD", "thesis.txt", "model.safetensors", ".hidden", "rank-00000/data.csv", "rank-00000/.git/HEAD",
    "rank-1/steps.arrow", "values/weights.safetensors", "values/00000-00000.npy", "values/00000/x.safetensors",
    "sources/mine.py", "sources/below/toy.py", "notes.json/mine", "ner/cfg", "meta.json.bak", "empty/",
    "rank-00001/empty/", "notes.json@", "values/00000-00009.safetensors@", "sources/toy.py@", "rank-00001@",
)  # fmt: skip


def content(folder: Path) -> Content:
    """All that is in a folder."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def put(folder: Path, entry: str) -> None:
    """Make a file, a folder (`x/`) or a link (`x@`)."""
    path = folder / entry.rstrip("/@")
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.endswith("/"):
        path.mkdir()
    elif entry.endswith("@"):
        if path.exists():
            path.rename(folder.parent / "elsewhere")
        path.symlink_to(folder.parent / "elsewhere")
    else:
        path.write_text("years of work")


def by_record(path: Path) -> None:
    with tftrace.record(nn.Linear(2, 2), path, overwrite=True):
        pass


def by_traced(path: Path) -> None:
    traced: Any = tftrace.traced(path=path, overwrite=True)(lambda: torch.ones(2))
    traced()


def by_merge(path: Path) -> None:
    merge([join(path.parent / f"{rank}.tftrace", rank) for rank in range(2)], path, overwrite=True)


WAYS: dict[str, Callable[[Path], None]] = {"record": by_record, "traced": by_traced, "merge": by_merge}


@pytest.mark.parametrize("entry", FOREIGN)
def test_a_trace_that_holds_something_else_is_not_replaced(entry: str, tmp_path: Path) -> None:
    path = attention_trace(tmp_path).path
    notes.write(load(path), 0, "mine")
    if entry.startswith("notes.json/"):
        (path / "notes.json").unlink()
    put(path, entry)
    before = content(tmp_path)
    for way in (create_folder, check_folder):
        with pytest.raises(tftrace.TraceError, match="is no part of a trace, so it is not overwritten: ") as raised:
            way(path, True)
        assert f"{path} holds {entry.split('/')[0].rstrip('@')}" in str(raised.value)
    assert content(tmp_path) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("entry", [".git/HEAD", "sources/mine.py", "rank-00000/data.csv"])
def test_whichever_way_it_is_asked_for(way: str, entry: str, tmp_path: Path) -> None:
    path = attention_trace(tmp_path).path
    put(path, entry)
    before = content(path)
    with pytest.raises(tftrace.TraceError, match="is no part of a trace"):
        WAYS[way](path)
    assert content(path) == before and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_trace_is_replaced_with_its_notes(way: str, tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    notes.write(trace, 0, "mine")
    kept = trace.path / "values" / "00009-00000.safetensors"  # of a rank that the new one has not
    kept.parent.mkdir()
    kept.touch()
    WAYS[way](trace.path)
    assert notes.read(load(trace.path)) == {} and load(trace.path).meta.get("model") != "Model"
    assert not (kept.exists() and not kept.stat().st_size) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "said",
    [
        '{"lang": "en", "name": "core_web_sm", "version": "3.7.1"}', '{"schema": "1"}', '{"schema": true}', "[1]", "",
        '{"schema": 1.0}', '{"schema": 1}',
    ],
)  # fmt: skip
def test_a_folder_with_a_meta_json_is_no_trace(
    said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As spaCy's models have; one of a schema has a rank, too."""
    path = tmp_path / "run.tftrace"
    path.mkdir()
    (path / "meta.json").write_text(said)
    for entry in (".git/HEAD", "ner/model"):
        put(path, entry)
    if said != '{"schema": 1}':
        (path / "rank-00000").mkdir()
    script = tmp_path / "run.py"
    script.write_text("import torch; torch.nn.Linear(2, 2)(torch.ones(1, 2)); print('ran')")
    before = content(path)
    monkeypatch.chdir(tmp_path)
    for words in (
        ["record", "demo:bert", "-o", str(path), "--force"],
        ["demo", "-o", str(path), "--force"],
        ["run", "-o", str(path), "--force", str(script)],
        ["run", "--force", str(script)],
        ["run", "--when", "nan > 0", "-o", str(path), "--force", str(script)],
        ["run", "-o", str(path), "--force", "--", "torchrun", str(script)],
    ):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert err.startswith("tftrace: ") and err.count("\n") == 1 and out == ""
        assert "run.tftrace is not a trace, so it is not overwritten: choose another path." in err
    for way in WAYS.values():
        with pytest.raises(tftrace.TraceError, match="is not a trace, so it is not overwritten"):
            way(path)
    assert content(path) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("to", ["trace", "nothing", "file", "empty"])
def test_a_link_is_not_replaced(way: str, to: str, tmp_path: Path) -> None:
    path, target = tmp_path / "link", attention_trace(tmp_path).path
    if to == "file":
        target = tmp_path / "toy.py"
    elif to != "trace":
        target = tmp_path / to
    if to == "empty":
        target.mkdir()
    path.symlink_to(target)
    before = content(tmp_path)
    with pytest.raises(tftrace.TraceError, match="link is not a trace, so it is not overwritten: choose another path"):
        WAYS[way](path)
    assert {name: kept for name, kept in content(tmp_path).items() if name in before} == before
    with pytest.raises(tftrace.TraceError, match="exists already"):
        check_folder(path, False)


def test_what_a_kill_left_half_written_is_replaced(tmp_path: Path) -> None:
    path, mark = attention_trace(tmp_path).path, "0123456789abcdef" * 2
    for entry in (
        f".meta.json-{mark}", f"rank-00000/.tensors.arrow-{mark}", f"values/.00000-00000.safetensors-{mark}",
        f"sources/.toy.py-{mark}", f".notes.json-{mark}", f".rank-00000-{mark}/steps.arrow",
    ):  # fmt: skip
        put(path, entry)
    create_folder(path, True)
    assert not (path / "values").exists()
    put(path, f".thesis.txt-{mark}")
    with pytest.raises(tftrace.TraceError, match=f"holds .thesis.txt-{mark}, which is no part"):
        create_folder(path, True)


def test_a_recording_that_was_killed_can_be_replaced(tmp_path: Path) -> None:
    """Whenever it was: a source that is in the trace is in its meta.json."""
    program = """
import os, signal, sys, torch, tftrace
from tftrace.trace import writer
write_bytes, left = writer.write_bytes, int(sys.argv[2])
def killed(*given):
    global left
    write_bytes(*given)
    left -= given[0].parent.name == "sources"
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
writer.write_bytes = killed
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
with tftrace.record(model, sys.argv[1]):
    model(torch.ones(1, 2))
"""
    path = tmp_path / "run.tftrace"
    environment = {**os.environ, "PYTHONPATH": str(Path(tftrace.__file__).parents[1])}
    for left in (1, 2):
        command = [sys.executable, "-c", program, str(path), str(left)]
        assert subprocess.run(command, cwd=Path(__file__).parents[2], env=environment).returncode == -9
        assert len(list((path / "sources").iterdir())) == left
        create_folder(path, True)
        shutil.rmtree(path)


# -- a replacement that fails -------------------------------------------------------------------------


def failing(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the move of that number fail, of those from this path and to it."""
    replace, moves = os.replace, 0

    def move(source: Any, target: Any) -> None:
        nonlocal moves
        moves += path in (Path(source), Path(target))
        if moves == number and path in (Path(source), Path(target)):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", move)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1, 2])
def test_where_a_replacement_fails_the_old_trace_is_there(
    way: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = attention_trace(tmp_path).path
    before = content(path)
    for rank in range(2):
        join(tmp_path / f"{rank}.tftrace", rank)
    failing(path, number, monkeypatch)
    monkeypatch.setattr("tests.trace.test_replace.join", lambda path, rank: path)
    with pytest.raises(tftrace.TraceError, match="No space left on device"):
        WAYS[way](path)
    assert content(path) == before and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", [OSError, ValueError, KeyboardInterrupt])
def test_where_what_follows_fails_the_old_trace_is_there(kind: type[BaseException], tmp_path: Path) -> None:
    path = attention_trace(tmp_path).path
    before = content(path)
    with pytest.raises((kind, tftrace.TraceError)), new_folder(path, True) as folder:
        assert content(folder) != before
        raise kind
    assert content(path) == before and not list(tmp_path.glob(".*"))
    with pytest.raises((kind, tftrace.TraceError)), new_folder(path, True) as folder:
        shutil.rmtree(folder)
        raise kind
    assert content(path) == before and not list(tmp_path.glob(".*"))
    with pytest.raises((kind, tftrace.TraceError)), new_folder(tmp_path / "new", True):
        raise kind
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))


def test_a_rank_that_joins_replaces_its_own_folder_alone(tmp_path: Path) -> None:
    path = join(tmp_path / "run.tftrace", 0)
    join(path, 1)
    put(path, "rank-00001/mine.txt")
    before = content(path)
    with pytest.raises(tftrace.TraceError, match=r"rank-00001 holds mine.txt, which is no part"):
        join(path, 1, overwrite=True)
    assert content(path) == before
    join(path, 0, overwrite=True)
    assert (path / "rank-00001" / "mine.txt").exists()
    (path / "rank-00001").rename(tmp_path / "elsewhere")
    (path / "rank-00001").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(tftrace.TraceError, match="rank-00001 holds a link"):
        join(path, 1, overwrite=True)
    assert (tmp_path / "elsewhere" / "mine.txt").exists()
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(tftrace.TraceError, match="link is not a trace"):
        join(tmp_path / "link", 2, overwrite=True)


@pytest.mark.parametrize("path", [".", "../run.tftrace", "..", ""])
def test_the_folder_one_is_in_is_not_replaced(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = attention_trace(tmp_path).path.rename(tmp_path / "run.tftrace")
    monkeypatch.chdir(trace / "sources" if path == ".." else trace)
    with pytest.raises(tftrace.TraceError, match="is the folder you are in, or above it, so it is not replaced"):
        create_folder(path, True)
    assert len(load(trace))


def test_what_a_program_puts_into_its_empty_trace_stays(tmp_path: Path) -> None:
    script = "import os, pathlib, torch; pathlib.Path('run.tftrace', 'mine.txt').write_text('years of work')"
    (tmp_path / "train.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(tftrace.__file__).parents[1])}
    command = [sys.executable, "-m", "tftrace", "run", "-o", "run.tftrace", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0 and "called no model: nothing was recorded" in done.stderr
    assert (tmp_path / "run.tftrace" / "mine.txt").read_text() == "years of work"


# -- exports ------------------------------------------------------------------------------------------


def test_a_folder_of_an_export_is_replaced_if_all_of_it_is(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    trace, path = attention_trace(tmp_path), tmp_path / "run.parquet"
    mine = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"step": [1]}), mine)
    for entry in ("rank=0/mine", "rank=0/part-0.parquet@", "rank=1@", "rank=0/part-1.parquet/", "rank=1", ".git/HEAD"):
        export(trace, path)
        put(path, entry)
        before = content(tmp_path)
        with pytest.raises(tftrace.TraceError, match="is a folder that no export wrote, so it is not replaced"):
            export(trace, path, overwrite=True)
        assert content(tmp_path) == before
        shutil.rmtree(path)
        (tmp_path / "elsewhere").unlink(missing_ok=True)
    for left in (mine.read_bytes(), b"PAR1", b""):  # a table partitioned by rank, as others write it too
        (path / "rank=0").mkdir(parents=True)
        (path / "rank=0" / "part-0.parquet").write_bytes(left)
        with pytest.raises(tftrace.TraceError, match="is a folder that no export wrote"):
            export(trace, path, overwrite=True)
        assert (path / "rank=0" / "part-0.parquet").read_bytes() == left
        shutil.rmtree(path)


@pytest.mark.parametrize("name", ["run.parquet", "run.csv"])
@pytest.mark.parametrize("to", ["file", "folder", "nothing"])
def test_an_export_replaces_no_link_and_no_device(name: str, to: str, tmp_path: Path) -> None:
    trace, path = attention_trace(tmp_path), tmp_path / name
    (tmp_path / "file").write_text("years of work")
    export(trace, tmp_path / "folder", format="parquet")
    path.symlink_to(tmp_path / to)
    before = content(tmp_path)
    with pytest.raises(tftrace.TraceError, match="is a link, or no plain file, so it is not replaced"):
        export(trace, path, overwrite=True)
    assert content(tmp_path) == before
    if hasattr(os, "mkfifo"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(tftrace.TraceError, match="is a link, or no plain file, so it is not replaced"):
            export(trace, path, overwrite=True)
        assert path.is_fifo()


@pytest.mark.parametrize("number", [1, 2])
def test_where_an_export_fails_the_old_folder_is_there(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, path = attention_trace(tmp_path), tmp_path / "run.parquet"
    export(trace, path)
    before = content(tmp_path)
    failing(path, number, monkeypatch)
    with pytest.raises(tftrace.TraceError, match="No space left on device"):
        export(trace, path, overwrite=True)
    assert content(tmp_path) == before


def test_a_sentence_names_the_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attention_trace(Path())
    assert json.loads(Path("toy.tftrace/meta.json").read_text())["schema"] == 1
    with pytest.raises(tftrace.TraceError, match=r"^toy\.tftrace exists already"):
        check_folder("toy.tftrace", False)
    assert check_folder("new.tftrace", False) == tmp_path / "new.tftrace"
