"""Folds, filters, breakpoints and notes, driven by keys and clicks; what is asserted is what a person would read."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.trace import notes
from tftrace.tui import TraceApp
from tftrace.tui.keymap import KEYMAP

from ..support.builders import attention_trace
from .test_app import play, press, screen, settle


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return attention_trace(tmp_path, forwards=2)


async def type_in(pilot: Pilot[None], text: str) -> None:
    names = {" ": "space", ">": "greater_than_sign", "=": "equals_sign", "*": "asterisk", ".": "full_stop"}
    await press(pilot, *(names.get(char, char) for char in text))


def test_folds_hide_what_is_inside_until_a_step_goes_there(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"ssss", "enter")
        shown = screen(app)
        assert "▸ attention  Attention  … 10" in shown
        assert shown.count("query  Linear") == 1  # of the second forward
        await press(pilot, "j")
        assert app.position == 15  # the next row
        await press(pilot, "S", "S", "S")  # back by steps: into what was folded, which opens
        assert app.position == 12
        assert "▾ attention" in screen(app)
        # THEN the arrows fold and unfold on the spot, and walk where there is nothing to fold
        await press(pilot, "u", "left", "left")
        assert app.position == 10
        await press(pilot, "right", "right", "right")
        assert app.position == 12
        await press(pilot, "g", "z")
        assert [app.outline.position(row) for row in range(len(app.outline))] == [0, 15]
        await press(pilot, "z")
        assert len(app.outline) == len(trace)
        # a folded call that has something wrong inside says so
        app.go(15)
        await press(pilot, "space")
        row = next(line for line in screen(app).splitlines() if "▸" in line)
        assert "NaN ✗" in row

    play(trace, script)


def test_a_filter_as_one_types(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ampersand")
        await type_in(pilot, "nan >")
        assert "The condition ends too early" in screen(app)
        await type_in(pilot, " 0")
        assert app.position == 21
        await press(pilot, "enter")
        shown = screen(app)
        assert "Steps & nan > 0" in shown
        assert [app.outline.position(row) for row in range(len(app.outline))] == [15, 18, 19, 20, 21]
        # a step that the filter hides is shown by the last row before it
        await press(pilot, "s")
        assert app.position == 22
        assert "▷" in screen(app)
        await press(pilot, "escape")
        assert len(app.outline) == len(trace)
        assert app.position == 22
        # WHEN a filter fits nothing or is left, all is as it was
        await press(pilot, "ampersand", *"zzz")
        assert "no match" in screen(app)
        await press(pilot, "escape")
        assert (len(app.outline), app.position) == (len(trace), 22)

    play(trace, script)


def test_breakpoints_are_set_edited_and_reached(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "✗ first NaN: attention.query" in screen(app)
        await press(pilot, *"ssssss", "b")
        assert "● attention.query" in screen(app)
        await press(pilot, "c")
        assert app.position == 21
        # WHEN its condition is changed, only the steps that fit are left
        await press(pilot, "B")
        await type_in(pilot, " when forward = 0")
        assert "1 step " in screen(app)
        await press(pilot, "enter")
        assert "● attention.query when forward = 0" in screen(app)
        await press(pilot, "c")
        assert app.position == 26
        await press(pilot, "C", "C")
        assert app.position == 6
        # a condition that is none keeps the prompt open and says why
        await press(pilot, "B", "backspace", "x", "enter")
        assert "'x' is not a number" in screen(app)
        await press(pilot, "escape")
        assert app.breakpoints.all[0].condition == "forward = 0"
        # b takes it away
        await press(pilot, "b")
        assert not app.breakpoints.all
        assert "b sets a breakpoint" in screen(app)

    play(trace, script)


def test_the_list_of_stops(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, *"sssssssb", "g", "5", "down", "enter")
        assert app.position == 7
        await press(pilot, "space")
        assert "○ toy.py:5" in screen(app)
        await press(pilot, "delete")
        assert not app.breakpoints.all
        await press(pilot, "up", "space", "escape", "c")  # what went wrong is off: only forwards are left
        assert app.position == 15
        await press(pilot, "c")
        assert app.position == 29

    play(trace, script)


def test_places_run_to_and_the_bar(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(6)
        await press(pilot, "right_square_bracket")
        assert app.position == 21
        await press(pilot, "right_square_bracket")
        assert "There is no call of this after this step" in screen(app)
        await press(pilot, "left_parenthesis")
        assert app.position == 6
        await press(pilot, "left_curly_bracket")
        assert "There is no layer before this step" in screen(app)
        assert "time along forward 1" in screen(app)
        await press(pilot, "r")
        assert "L2 norm along forward 1" in screen(app)
        assert "max 3.9" in screen(app)
        await pilot.click("#bar", offset=(2, 1))
        assert app.position == 0

    play(trace, script)


def test_clicks_fold_and_break(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await pilot.click("#steps", offset=(1, 3))  # the column of breakpoints; inside of the frame, row 2
        await settle(pilot)
        assert str(app.breakpoints.all[0]) == "embed"
        row = next(y for y, line in enumerate(screen(app).splitlines()) if "▾ attention" in line)
        await pilot.click("#steps", offset=(screen(app).splitlines()[row].index("▾"), row))
        await settle(pilot)
        assert "▸ attention" in screen(app)
        await pilot.click("#status", offset=(screen(app).splitlines()[-1].index("s into") + 1, 0))
        assert app.position == 1

    play(trace, script)


def test_a_note_is_kept_in_the_trace(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "s", "m")
        await type_in(pilot, "see q")
        await press(pilot, "left", "backspace", "enter")
        assert app.position == 1
        assert "✎ seeq" in screen(app)
        await press(pilot, "s")
        assert "seeq" not in screen(app)
        assert "✎" in screen(app)  # beside its row

    play(trace, script)
    assert notes.read(trace) == {1: "seeq"}


def test_the_palette_finds_a_command_by_its_words(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ctrl+p")
        await pilot.pause(0.3)
        assert "into: the next step" in screen(app)
        await type_in(pilot, "norms")
        await pilot.pause(0.5)
        assert "the bar and the grid show time or L2 norms" in screen(app)
        await press(pilot, "enter", "enter")
        await pilot.pause(0.3)
        assert "L2 norm along forward 1" in screen(app)
        assert app.position == 0

    play(trace, script)


def test_every_key_has_one_meaning() -> None:
    keys = [key for group in KEYMAP.values() for one in group for key in one.keys.split(",")]
    assert len(keys) == len(set(keys))


def test_continue_says_why_it_halts_where_nan_was_made(trace: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "first NaN: attention.query: " in screen(app)
        await press(pilot, "c", "c")
        assert app.position == 21 and "2 NaN in output: " in screen(app)
        await press(pilot, "c")
        assert app.position == 26 and "2 NaN in output: " not in screen(app)
        await press(pilot, "C")
        assert app.position == 21 and "2 NaN in output: " in screen(app)

    play(trace, script)
