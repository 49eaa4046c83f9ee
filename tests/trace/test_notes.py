"""Notes on steps: kept in the trace, read back by the step they were put on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tftrace import load
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.trace import notes

from ..support.builders import Builder, attention_trace


def test_notes_come_back_on_their_steps(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    notes.write(trace, 9, "heads split here\nsee §3.2.2")
    notes.write(trace, 2, "查询与键比较")
    notes.write(trace, 9, "heads split")
    assert notes.read(load(trace.path)) == {2: "查询与键比较", 9: "heads split"}
    notes.write(trace, 2, "  ")
    assert notes.read(trace) == {9: "heads split"}
    assert {file.name for file in trace.path.iterdir()} >= {"notes.json", "meta.json"}


def test_a_note_stays_on_its_rank(tmp_path: Path) -> None:
    b = Builder(tmp_path / "t.tftrace")
    b.step(0, rank=1)
    trace = b.done()
    notes.write(trace, 0, "of rank 1")
    assert json.loads((trace.path / "notes.json").read_text())["notes"] == [{"rank": 1, "step": 0, "text": "of rank 1"}]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"notes": 3}', "[" * 100_000, "\x80"])
def test_damaged_notes_are_said_and_not_overwritten(tmp_path: Path, damage: str) -> None:
    trace = attention_trace(tmp_path)
    (trace.path / "notes.json").write_text(damage, encoding="latin-1")
    with pytest.warns(UserWarning, match=r"notes.json is damaged"):
        assert notes.read(trace) == {}
    with pytest.raises(TraceError, match="mend or remove it"):
        notes.write(trace, 0, "mine")
    assert (trace.path / "notes.json").read_text(encoding="latin-1") == damage


def test_what_is_no_note_in_a_strangers_file_is_left_out(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    entries = [{"rank": 0, "step": 3, "text": "good"}, 7, {"step": True, "rank": 0, "text": "x"}, {"rank": 0}]
    entries += [{"rank": 0, "step": 2**70, "text": "far"}, {"rank": 0, "step": 10**6, "text": "no such step"}]
    (trace.path / "notes.json").write_text(json.dumps({"notes": entries}))
    assert notes.read(trace) == {3: "good"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    (tmp_path / "elsewhere.json").write_text('{"notes": [{"rank": 0, "step": 0, "text": "secret"}]}')
    (trace.path / "notes.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.warns(UserWarning, match="is a link"):
        assert notes.read(trace) == {}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(attention_trace(tmp_path).path)
    assert main(["note", path, "9", "a \x1b[2J note"]) == 0
    assert main(["note", path]) == main(["note", path, "9"]) == 0
    out = capsys.readouterr().out
    assert out.count("a \\x1b[2J note") == 2 and "\x1b" not in out and "9  attention  toy.py:8" in out
    assert main(["note", path, "9", ""]) == 0 and main(["note", path, "9"]) == 2
    assert "There is no note on step 9" in capsys.readouterr().err
    assert main(["note", path, "99", "x"]) == 2
    assert "its steps are 0 to" in capsys.readouterr().err
    assert main(["note", path, "0", "x" * 30_000]) == 2
    assert "shorten it" in capsys.readouterr().err
