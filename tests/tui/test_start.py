"""The start screen, driven by keys; and what `tftrace` alone says without a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tftrace.cli import main
from tftrace.commands import _start
from tftrace.language import speaking
from tftrace.learn import lessons
from tftrace.learn.lesson_titles import lesson_titles
from tftrace.learn.progress import mark_done
from tftrace.tui.start.recent_traces import recent_traces, remember
from tftrace.tui.start.startapp import StartApp

from ..support.builders import attention_trace
from .test_app import press, screen, settle


def chosen(*keys: str, size: tuple[int, int] = (100, 30), shows: str = "") -> list[str] | None:
    """What these keys choose; `shows` is on the screen before the last of them."""

    async def script() -> list[str] | None:
        app = StartApp(lesson_titles(), recent_traces())
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await press(pilot, *keys[:-1])
            assert shows.replace(" ", "") in screen(app).replace(" ", ""), screen(app)
            await press(pilot, *keys[-1:])
        return app.return_value

    return asyncio.run(script())


def test_the_rows_by_key_arrow_and_mouse() -> None:
    assert chosen("l", shows="Lesson 1: A line and its equation") == ["learn", "1"]
    assert chosen("enter") == ["learn", "1"]
    assert chosen("2", shows="GPT-2 goes on with a story") == ["demo", "gpt2"]
    assert chosen("down", "down", "enter") == ["demo", "bert"]
    assert chosen("a", "down", "down", "down", "enter", shows="Self-attention in five steps") == ["learn", "4"]
    assert chosen("a", "escape", "q", shows="Record a model") is None

    async def script() -> Any:
        app = StartApp(lesson_titles(), [])
        async with app.run_test(size=(100, 30)) as pilot:
            await settle(pilot)
            row = next(at for at, line in enumerate(screen(app).splitlines()) if "the paper's model" in line)
            await pilot.click(offset=(30, row))
            await settle(pilot)
        return app.return_value

    assert asyncio.run(script()) == ["demo", "transformer"]


def test_what_is_asked_first() -> None:
    assert chosen("r", *"gpt2", "space", *"a", "space", *"cat", "enter") == ["record", "gpt2", "--text", "a cat"]
    assert chosen("c", *"one", "space", *"two", "enter") == ["view", "one", "two"]
    assert chosen("c", *"one", "enter", "x", shows="Two traces are compared") is None


def test_progress_and_traces_opened_lately(tmp_path: Path) -> None:
    mark_done(lessons()[3], 0)
    trace = attention_trace(tmp_path, text=["a\x1b]0;film"], result="POSITIVE 0.98")
    remember(trace.path, trace.meta)
    assert chosen("l", shows="Lesson 4: Self-attention in five steps") == ["learn", "4"]
    assert chosen("4", shows="→ POSITIVE 0.98", size=(160, 48)) == ["view", str(trace.path)]
    with speaking("zh"):
        assert chosen("l", shows="最近打开") == ["learn", "4"]
    file = next(Path(os.environ["XDG_STATE_HOME"]).rglob("recent.json"))
    for bad in ("{", "[]" * 9, json.dumps([{"path": 3}]), json.dumps([{"path": "x"}])):
        file.write_text(bad)
        assert recent_traces() == []


def test_without_a_terminal_it_says_what_to_type_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tftrace learn ") and "tftrace record bert-base-uncased" in out
    assert main(["--lang", "zh"]) == 0
    assert "逐步" not in (out := capsys.readouterr().out) and "全部命令" in out


def test_what_is_chosen_runs_and_the_start_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[str] | None] = [["demo", "bert"], ["record", "no/model"], None]
    monkeypatch.setattr(_start, "on_screen", lambda: True)
    monkeypatch.setattr(StartApp, "run", lambda self: answers.pop(0))
    monkeypatch.setattr(sys, "stdin", open("/dev/null", encoding="utf-8"))  # noqa: SIM115 - until the test ends
    ran: list[list[str]] = []

    def run(words: list[str]) -> int:
        ran.append(words)
        return 2 if "record" in words else 0

    assert _start.start(run) == 0
    assert ran == [["--lang", "en", "demo", "bert"], ["--lang", "en", "record", "no/model", "-o", "model.tftrace"]]


def test_the_start_screen_waits_for_nothing_that_reads_traces() -> None:
    code = (
        "import sys, tftrace.cli, tftrace.tui.start.startapp, tftrace.tui.paint.chosen_theme\n"
        "import tftrace.learn.lesson_titles as titles\ntitles.lesson_titles()\n"
        "slow = {'numpy', 'pyarrow', 'torch', 'transformers', 'pandas', 'pygments'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
