"""Fewer kept tensors, the traces of several processes as one, and what is in a trace."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tftrace import Trace, load, record
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.maintain import prune
from tftrace.maintain.info import info
from tftrace.maintain.merge import merge
from tftrace.trace import notes, scalars, schema, values

from ..support.builders import Builder, attention_trace, hostile_trace
from ..trace.test_ranks import join

NAMES = ("layer.0", "layer.1", "head")


def kept_trace(folder: Path) -> Trace:
    """Three modules, each with an input, an output and a weight that are kept whole, in two files."""
    builder = Builder(folder / "kept.tftrace")
    tensors = {str(n): np.full((2, 2), n, np.float32) for n in range(9)}
    tensors["4"] = np.arange(4, dtype=np.float32).reshape(2, 2).astype(np.float16)  # another size
    (builder.folder / "values").mkdir()
    for number, keys in enumerate((("0", "1", "2", "3", "4"), ("5", "6", "7", "8"))):
        file = builder.folder / "values" / f"00000-{number:05d}.safetensors"
        save_file({key: tensors[key] for key in keys}, file)
    for at, name in enumerate(NAMES):
        step = builder.step(0, name=name)
        for n, role in enumerate((schema.INPUT, schema.OUTPUT, schema.PARAMETER)):
            place = f"00000-0000{(3 * at + n) // 5}.safetensors#{3 * at + n}"
            builder.tensor(step, role, role, (2, 2), tensor=3 * at + n, value=place)
    return builder.done()


def read(trace: Trace) -> dict[tuple[str, str], Any]:
    found = {}
    for step in trace:
        for row in step.tensors:
            if row.value is not None:
                found[step.name, row.role] = trace.value(step.position, row.name).tolist()
    return found


@pytest.mark.parametrize(
    ("keep", "budget", "stay"),
    [
        ("none", None, lambda name, role: False),
        ("all", None, lambda name, role: True),
        ("auto", None, lambda name, role: role != "parameter"),
        (["layer.*"], None, lambda name, role: name != "head"),
        (["*.1", "head"], None, lambda name, role: name != "layer.0"),
        ("all", 16 * 4 + 7, lambda name, role: name == "layer.0" or (name, role) == ("layer.1", "input")),
        ("all", 0, lambda name, role: False),
    ],
)
def test_what_stays_is_the_same_to_the_bit(
    tmp_path: Path, keep: Any, budget: int | None, stay: Callable[[str, str], bool]
) -> None:
    trace = kept_trace(tmp_path)
    before, rows = read(trace), trace.tensors.drop(["value"])
    expected = {place: value for place, value in before.items() if stay(*place)}
    count, smaller = prune.prune(trace.path, keep, budget)
    trace = load(trace.path)
    assert read(trace) == expected and count == 9 - len(expected) and (smaller > 0) == (count > 0)
    assert trace.tensors.drop(["value"]).equals(rows)
    held = {key for name in values.files(trace.path) for key in values.kept(trace.path, name)}
    assert len(held) == len(expected)  # nothing is left that no row names
    assert trace.missing == ([f"Of the tensors kept whole {count} were pruned."] if count else [])
    assert prune.prune(trace.path, keep, budget) == (0, 0)


def test_wherever_it_is_interrupted_the_trace_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = kept_trace(tmp_path)
    before = read(trace)
    stays = {place: value for place, value in before.items() if place[0] != "head"}
    replace, unlink = os.replace, Path.unlink
    for interrupted in range(20):
        shutil.rmtree(trace.path)
        kept_trace(tmp_path)
        left = interrupted

        def counted(work: Any) -> Any:
            def run(*args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return work(*args, **options)

            return run

        with monkeypatch.context() as patched:
            patched.setattr("os.replace", counted(replace))
            patched.setattr(Path, "unlink", counted(unlink))
            try:
                prune.prune(trace.path, ["layer.*"])
                break
            except KeyboardInterrupt:
                pass
        found = read(load(trace.path))
        assert found in (before, stays), interrupted
        prune.prune(trace.path, ["layer.*"])  # a second run ends what the first began
        assert read(load(trace.path)) == stays
        held = {key for name in values.files(trace.path) for key in values.kept(trace.path, name)}
        assert len(held) == len(stays)
    assert interrupted >= 8


def test_a_trace_that_is_recorded_is_not_pruned(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "live.tftrace")
    with pytest.raises(TraceError, match="is being recorded: prune it when"):
        prune.prune(builder.folder, "none")
    builder.done()
    assert prune.prune(builder.folder, "none") == (0, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Say what to keep"),
        (["--keep-values", "none", "--keep-values", "x"], "--keep-values none cannot be combined"),
        (["--budget", "many"], "'many' is not a size"),
        (["--budget", "-1"], "is not a size"),
    ],
)
def test_mistakes_get_one_sentence(
    tmp_path: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = kept_trace(tmp_path)
    assert main(["prune", str(trace.path), *options]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1 and len(read(load(trace.path))) == 9


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = kept_trace(tmp_path)
    assert main(["prune", str(trace.path), "--keep-values", "layer.*", "--budget", "0.05 kB"]) == 0
    assert "Removed 6 tensors from" in capsys.readouterr().err
    assert set(read(load(trace.path))) == {("layer.0", role) for role in ("input", "output", "parameter")}


# -- merge --------------------------------------------------------------------------------------------


def test_folders_of_two_ranks_become_one_trace(tmp_path: Path) -> None:
    paths = [join(tmp_path / f"{rank}.tftrace", rank) for rank in range(2)]
    for rank, path in enumerate(paths):
        (path / "sources" / "same.py").write_text(f"of rank {rank}\n", encoding="utf-8")
        meta = json.loads((path / f"rank-{rank:05d}" / "meta.json").read_text(encoding="utf-8"))
        meta |= {"sources": {f"/{rank}.py": "same.py"}, "equations": {f"e{rank}": {"cite": "x"}}}
        (path / f"rank-{rank:05d}" / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        (path / "values").mkdir()
        save_file({"0": np.zeros(2, np.float32)}, path / "values" / f"{rank:05d}-00000.safetensors")
        notes.write(load(path), 0, f"note {rank}")
        said = scalars.NumbersWriter(path / f"rank-{rank:05d}")
        said.note(0, "launch", "scaled", {"s": 0.5 + rank, "A": "gelu"})
        said.close()
    trace = merge(paths[::-1], tmp_path / "whole.tftrace")
    assert [(step.rank, step.name) for step in trace] == [(0, "launch"), (1, "launch")]
    assert [trace.source(f"/{rank}.py") for rank in range(2)] == [["of rank 0"], ["of rank 1"]]
    assert set(trace.meta["equations"]) == {"e0", "e1"} and trace.meta["complete"] is True
    assert notes.read(trace) == {0: "note 0", 1: "note 1"}
    assert [scalars.numbers(trace, at, "scaled") for at in range(2)] == [{"s": n, "A": "gelu"} for n in (0.5, 1.5)]
    assert values.files(trace.path) == ["00000-00000.safetensors", "00001-00000.safetensors"]
    assert len(load(paths[0])) == 1  # they stay as they are
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.tftrace", "1.tftrace", "whole.tftrace"]


def test_what_is_not_of_one_run_is_not_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = join(tmp_path / "one", 0), join(tmp_path / "other", 1, launch="another")
    again = join(tmp_path / "again", 0)
    plain = attention_trace(tmp_path).path
    for paths, into, sentence in (
        ([one, other], "new", "are not of one run"),
        ([one, again], "new", "both hold rank 0"),
        ([one, plain], "new", "are not of one run"),
        ([one], "new", "name two or more"),
        ([one, join(tmp_path / "third", 1)], "one", "exists already"),
    ):
        assert main(["merge", *map(str, paths), "-o", str(tmp_path / into)]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1 and not (tmp_path / "new").exists()
    with pytest.raises(TraceError, match="is one of the traces that are merged"):
        merge([one, tmp_path / "third"], one, overwrite=True)
    assert len(load(one)) == 1


# -- info ---------------------------------------------------------------------------------------------


def test_what_is_in_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = kept_trace(tmp_path)
    (trace.path / "values" / "00000-00001.safetensors").unlink()
    (trace.path / "stray.bin").write_bytes(b"x" * 10)
    (trace.path / "link").symlink_to("/usr")
    assert main(["info", str(trace.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == info(load(trace.path))
    assert found["rows"] == {"steps": 3, "tensors": 9, "checks": 0} and found["forwards"] == 1
    assert found["roles"] == {"input": 3, "output": 3, "parameter": 3}
    assert found["values"] == {"tensors": 5, "lost": 4}
    sizes = found["bytes"]
    assert sizes["other"] == 10 and sizes["total"] == sum(size for name, size in sizes.items() if name != "total")
    assert main(["info", str(trace.path)]) == 0
    out = capsys.readouterr().out
    assert "9: input 3, output 3, parameter 3" in out and "5 tensors whole, 4 more are lost" in out


def test_info_of_what_a_stranger_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = hostile_trace(tmp_path)
    (trace.path / "meta.json").write_text('{"schema": 1, "model": "\\u001b[2J", "versions": [], "lost": ["\\u001b"]}')
    assert main(["info", str(trace.path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\\x1b[2J" in out


def test_token_prints_go_with_the_last_value_or_when_told(tmp_path: Path) -> None:
    def recorded(name: str) -> Path:
        model = torch.nn.Linear(4, 4)
        with record(model, tmp_path / name, level="modules", values="none"):
            model(torch.zeros(2, 4))
        return tmp_path / name / "rank-00000" / "prints.arrow"

    for at, (options, stays) in enumerate(
        [(["--budget", "1"], True), (["--keep-values", "none"], False), (["--no-prints"], False)]
    ):
        file = recorded(f"{at}.tftrace")
        assert file.is_file()
        assert main(["prune", str(file.parent.parent), *options]) == 0
        assert file.exists() is stays and len(load(file.parent.parent))
    kept = recorded("kept.tftrace")
    assert main(["prune", str(kept.parent.parent), "--keep-values", "none", "--prints"]) == 0 and kept.exists()
