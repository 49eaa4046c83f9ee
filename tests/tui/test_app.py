"""The screen, driven by keys without a terminal; what is asserted is what a person would read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

os.environ["TEXTUAL_ANIMATIONS"] = "none"

import pytest
from textual.app import App
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.tui import TraceApp
from tftrace.tui.dialogs.prompt import Prompt
from tftrace.tui.keymap import KEYMAP

from ..support.builders import attention_trace, big_trace, hostile_trace

Script = Callable[[TraceApp, Pilot[None]], Awaitable[None]]


def play(trace: Trace, script: Script, size: tuple[int, int] = (160, 48)) -> None:
    """Run the app on a trace and let `script` press its keys."""

    async def run() -> None:
        app = TraceApp(trace)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await script(app, pilot)

    asyncio.run(run())


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def screen(app: App[Any]) -> str:
    """Every row of the screen as text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return attention_trace(tmp_path, forwards=2, result="POSITIVE 0.98")


def test_four_panes_show_one_step(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "POSITIVE 0.98" in screen(app)
        await press(pilot, *"s" * 11)
        shown = screen(app)
        assert "step 11/29 · forward 1/2 · attention.attend" in shown
        assert "▾ attend()" in shown
        assert "toy.py ─ Attention.forward" in shown
        assert "✓ Vaswani et al. 2017, §3.2.1, Eq. (1)" in shown
        assert "Attention(Q, K, V) = softmax⎜╶───╴⎟V" in shown
        assert "✓ holds  3.0e-07 ≤ 1.2e-05 (32 cells)" in shown
        assert "Each query is compared" in shown
        assert "→ query" in shown
        await press(pilot, "L")
        assert "每个查询与所有键比较" in screen(app).replace(" ", "")

    play(trace, script)


def test_a_line_shows_what_it_bound(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"s" * 7)
        shown = screen(app)
        assert "⇒ key  1×4×2×8  μ 0.01 σ 0.98  [-4.1, 4.3]" in shown
        line = next(row for row in shown.splitlines() if "query = self.query(x)" in row and "4┃" in row)
        assert "query  1×4×2×8  μ 0.01 σ 0.98  [-4.1, 4.3]" in line  # what an earlier line bound stands at its end

    play(trace, script)


def test_stepping_back_brings_back_the_first_screen(tmp_path: Path) -> None:
    trace = big_trace(tmp_path, 400)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        for start in (0, 30):  # at the top of the list, and in its midst
            app.go(start)
            await settle(pilot)
            first = screen(app)
            await press(pilot, *"s" * 12)
            assert screen(app) != first
            await press(pilot, *"S" * 12)
            assert screen(app) == first

    play(trace, script)


def test_every_stepping_key_and_its_reverse(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        seen = []
        for key in ("c", "c", "c", "C", "F", "N", "n", "u", "d", "G", "g", "f11", "f10", "f5", "j", "k", "down", "up"):
            await press(pilot, key)
            seen.append(app.position)
        assert seen == [15, 21, 26, 21, 19, 18, 18, 15, 16, 29, 0, 1, 3, 15, 16, 15, 16, 15]

    play(trace, script)


def test_search_goes_along_as_one_types(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"line", "q")  # not a match: q is a letter here
        assert app.position == 0
        assert "no match" in screen(app)
        await press(pilot, "backspace", *"ar")
        assert app.position == 6
        assert "1 of 4" in screen(app)
        await press(pilot, "enter")
        assert "1 of 4" in screen(app)
        await press(pilot, "full_stop")
        assert app.position == 8
        await press(pilot, "comma", "comma")
        assert app.position == 23  # round the end
        await press(pilot, "slash", *"embed", "escape")
        assert "step 23/29 · forward 2/2 · /linear  4 of 4 · attention.key" in screen(app)
        assert app.position == 23
        assert not app.query_one(Prompt).is_open

    play(trace, script)


def test_a_click_chooses_a_row_and_a_pane_can_fill_the_screen(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await pilot.click("#steps", offset=(10, 5))
        await settle(pilot)
        assert app.position == 4
        await press(pilot, "4", "4")
        assert "Steps" not in screen(app)
        await press(pilot, "escape")
        assert "Steps" in screen(app)
        await press(pilot, "T", "question_mark")
        shown = screen(app)
        assert all(key.help in shown for group in list(KEYMAP.values())[:3] for key in group)
        await press(pilot, "s", "q")  # closes the help, and does nothing else
        assert app.position == 4
        assert "Steps" in screen(app)
        assert "the reverse of s" not in screen(app)

    play(trace, script)


def test_a_terminal_that_is_too_small_says_so_and_recovers(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "needs a terminal of 80×24; this one has 60×20" in screen(app)
        await pilot.resize_terminal(100, 30)
        await settle(pilot)
        assert "▾ Model" in screen(app)
        await pilot.resize_terminal(79, 40)
        await settle(pilot)
        assert "this one has 79×40" in screen(app)
        # THEN it says nothing else, also after a search has hidden and shown the status line
        await pilot.resize_terminal(100, 30)
        await press(pilot, "slash", "l", "enter")
        await pilot.resize_terminal(79, 40)
        await settle(pilot)
        assert "step " not in screen(app)

    play(trace, script, size=(60, 20))


def test_a_hostile_trace_is_shown_as_text(tmp_path: Path) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        for _ in range(4):
            shown = screen(app)
            assert not set(shown) & {"\x1b", "\x07", "\u202e"}
            assert "[red]" in shown
            await press(pilot, "s")

    play(hostile_trace(tmp_path), script)


def test_a_trace_without_steps_is_refused(tmp_path: Path) -> None:
    from ..support.builders import Builder

    with pytest.raises(TraceError, match="no steps"):
        TraceApp(Builder(tmp_path / "empty.tftrace").done())
