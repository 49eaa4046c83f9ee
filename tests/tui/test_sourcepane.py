"""The source pane: what ran and how often, the cursor, and the reader's editor."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tftrace import Trace, describe
from tftrace.errors import TraceError
from tftrace.trace import schema
from tftrace.tui import TraceApp, editor
from tftrace.tui.panes.sourcepane import SourcePane

from ..support.builders import Builder, attention_trace
from .test_app import play, press, screen, settle


def row(app: TraceApp, text: str) -> str:
    """The row of the source pane with this text."""
    return next(line for line in screen(app).splitlines() if text in line.partition("││")[2])


def test_the_current_line_is_in_the_middle_and_others_say_how_often_they_ran(tmp_path: Path) -> None:
    source = tmp_path / "loop.py"
    source.write_text("".join(f"# {at}\n" for at in range(40)) + "for x in xs:\n    y = x\nreturn y\n" + "#\n" * 40)
    builder = Builder(tmp_path / "loop.tftrace")
    builder.writer.keep_source(str(source))
    builder.step(0, def_file=str(source), def_line=1)
    for line in (41, 42, 41, 42, 41, 43):
        at = builder.step(1, schema.LINE, "", "Model.forward", file=str(source), line=line, end_line=line)
        if line == 42:
            builder.tensor(at, schema.LOCAL, "y", mean=0.1 * at, min=-float(at))

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"sss")
        pane = app.query_one(SourcePane)
        middle = pane.region.y + pane.region.height // 2
        assert abs(screen(app).splitlines().index(row(app, "for x in xs")) - middle) <= 1
        assert "▶   41┃" in row(app, "for x in xs")
        assert "×2  y  1×2×8  μ 0.2 σ 0.98  [-2, 4.3]" in row(app, "y = x")
        assert "43╎ return y" in row(app, "return y")
        await press(pilot, *"ss")
        await press(pilot, "s")
        assert "×3" in row(app, "for x in xs")

    play(builder.done(), script)


def test_what_fits_at_the_end_of_a_line(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    assert describe.bound_values(trace, 5, 60) == "query  1×4×2×8  μ 0.01 σ 0.98  [-4.1, 4.3]"
    assert describe.bound_values(trace, 5, 20) == "query 1×4×2×8"
    assert describe.bound_values(trace, 5, 9) == "1×4×2×8"
    assert describe.bound_values(trace, 5, 3) == ""
    assert describe.bound_values(trace, 9, 60) == ""


def test_the_cursor_runs_to_a_line_and_breaks_there(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "t")
        assert "press 2 and choose one" in screen(app)
        await press(pilot, *"sssss", "2", *["down"] * 6)
        assert app.position == 5
        assert "›   10┃" in screen(app) or "›   10╎" in screen(app)
        await press(pilot, "b")
        assert "● toy.py:10" in screen(app)
        assert "›●  10" in screen(app)
        await press(pilot, "t")
        assert app.position == 10
        await press(pilot, "up", "up", "up", "up", "enter")  # the statement that ends on line 7
        assert app.position == 22
        await press(pilot, *["up"] * 4, "t")
        assert "Line 1 never ran" in screen(app)
        # a click puts the cursor there, on the number it breaks
        rows = screen(app).splitlines()
        pane = app.query_one(SourcePane)
        y = rows.index(row(app, "return scores")) - pane.region.y
        await pilot.click("#source", offset=(30, y))
        await settle(pilot)
        assert pane.cursor is not None
        assert pane.cursor[1] == 11
        await pilot.click("#source", offset=(4, y))
        await settle(pilot)
        assert "● toy.py:11" in screen(app)

    play(trace, script)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("vim", ["vim", "+7", "a b.py"]),
        ("/usr/bin/emacsclient -t", ["/usr/bin/emacsclient", "-t", "+7", "a b.py"]),
        ("code --wait", ["code", "--wait", "--goto", "a b.py:7"]),
        ("hx", ["hx", "a b.py:7"]),
        ("gedit", ["gedit", "a b.py"]),
    ],
)
def test_each_editor_gets_the_line_in_its_own_way(said: str, words: list[str]) -> None:
    assert editor.command(said, Path("a b.py"), 7) == words


def test_the_live_file_is_opened_while_it_is_what_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, file = attention_trace(tmp_path), str(tmp_path / "toy.py")
    assert editor.file_to_open(trace, file) == (tmp_path / "toy.py", True)
    (tmp_path / "toy.py").write_text("changed\n")
    copy, live = editor.file_to_open(trace, file)
    assert not live
    assert copy.read_text().splitlines() == trace.source(file)
    assert trace.path not in copy.parents
    (tmp_path / "toy.py").unlink()
    os.mkfifo(tmp_path / "toy.py")  # a stranger's trace may name anything: nothing is waited for
    assert not editor.file_to_open(trace, file)[1]
    with pytest.raises(TraceError, match="no copy"):
        editor.file_to_open(trace, "/etc/passwd")
    monkeypatch.setenv("EDITOR", "no-such-editor-here")
    monkeypatch.delenv("VISUAL", raising=False)
    with pytest.raises(TraceError, match="no-such-editor-here"):
        editor.editor()


def test_the_editor_is_called_at_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = attention_trace(tmp_path)
    script = tmp_path / "vim"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("VISUAL", str(script))
    monkeypatch.setattr(TraceApp, "suspend", lambda self: nullcontext())

    async def press_e(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"sssss", "e")

    play(trace, press_e)
    assert (tmp_path / "called").read_text().split() == ["+4", str(tmp_path / "toy.py")]


def test_without_a_terminal_the_line_is_named(trace_of_one: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"sssss", "e")
        assert "No editor" in screen(app)

    play(trace_of_one, script)


@pytest.fixture
def trace_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    monkeypatch.setenv("VISUAL", "true")
    return attention_trace(tmp_path)
