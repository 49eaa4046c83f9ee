"""The key !: choose an edit, see the answer change, take it back or step through both; a sweep in the head tiles."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.edits import Part
from tftrace.errors import TraceError
from tftrace.tui import TraceApp
from tftrace.tui.dialogs.edit_choice import EditChoice
from tftrace.tui.screens.attentionscreen import AttentionScreen
from tftrace.tui.screens.trialscreen import TrialScreen
from tftrace.tui.screens.valuescreen import ValueScreen
from tftrace.tui.trying_actions import parse_edit

from .test_app import play, press, screen, settle


async def done(app: TraceApp, pilot: Pilot[None]) -> str:
    await app.workers.wait_for_complete()
    await settle(pilot)
    return screen(app)


def test_an_edit_is_chosen_and_taken_back_or_stepped_through(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(46)  # a line: its call is edited
        await press(pilot, "exclamation_mark", "tab", "tab")
        assert "head 1 · step 45 · bert.encoder.layer.0.attention.self" in screen(app)
        await press(pilot, "escape", "exclamation_mark", "enter")
        shown = await done(app, pilot)
        assert isinstance(app.screen, TrialScreen) and app.beside is None
        assert "NEGATIVE 1.00 → NEGATIVE 0.84" in shown and "self ✎ zero" in shown
        await press(pilot, "escape")
        assert app.is_running and app.beside is None and len(app.screen_stack) == 1
        await press(pilot, "exclamation_mark", *["down"] * 5, "enter", *"scale x", "enter")
        assert "x is no number" in screen(app)
        await press(pilot, "ctrl+u", *"zero token 50", "enter")
        assert "There is no token 50" in await done(app, pilot)
        await press(pilot, "exclamation_mark", "enter")
        await done(app, pilot)
        await press(pilot, "enter")
        assert app.beside is not None and app.beside.edit == "zero"

    play(film, script)


def test_heads_tokens_and_cells_are_edited_where_they_are_looked_at(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(57)
        await press(pilot, "a")
        await done(app, pilot)
        assert isinstance(app.screen, AttentionScreen)
        app.screen.at_head, app.screen.at_query = 3, 5
        await press(pilot, "exclamation_mark")
        choice = app.screen
        assert isinstance(choice, EditChoice) and choice.part == {"head": 3}
        await press(pilot, "tab")
        assert choice.part == {"head": 3, "token": 5} and "token 5 “good”" in str(choice.title_text)
        await press(pilot, *["down"] * 6, "enter")
        assert "9 runs of the model" in await done(app, pilot)
        await press(pilot, "escape")
        assert "head 3 -100%" in screen(app) and isinstance(app.screen, AttentionScreen)
        await press(pilot, "escape", "v")
        await done(app, pilot)
        assert isinstance(app.screen, ValueScreen)
        await press(pilot, "right", "exclamation_mark")
        cell = app.screen
        assert isinstance(cell, EditChoice) and {"head", "token", "channel"} == cell.part.keys()

    play(film, script)


def test_what_is_typed() -> None:
    edit = parse_edit("scale 0.5 head 1,2 token -1")
    assert (edit.what, edit.amount, edit.part) == ("scale", 0.5, Part((1, 2), (-1,)))
    assert parse_edit("--zero").what == "zero" and parse_edit("set 3 channel 0").value == 3
    for wrong in ("", "zero 3", "scale", "head 1", "zero head x", "from nowhere.tftrace", "fold 1"):
        with pytest.raises(TraceError):
            parse_edit(wrong)
