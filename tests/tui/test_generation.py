"""A generation on the screen: the grid's tokens and answers, and attention with the text on both axes."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tftrace import Trace, describe
from tftrace.trace.answers import answers
from tftrace.tui import TraceApp
from tftrace.tui.screens.attentionscreen import AttentionScreen

from ..support.generated import generated
from .test_app import play, press, screen


@pytest.fixture(scope="module")
def beams(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return generated(tmp_path_factory.mktemp("beams") / "run.tftrace", [[5, 9, 3]], max_new_tokens=5, num_beams=2)


def test_the_columns_are_headed_by_tokens_and_the_answer_stands_below(beams: Trace) -> None:
    known = answers(beams)
    generation = known.generation(0)
    assert generation is not None
    went = [known.word(known.next_of(generation, 0, place) or 0) for place in range(5)]

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "l")
        rows = screen(app).splitlines()
        took, gave = (next(row for row in rows if title in row) for title in ("took in", "gave out"))
        assert took.split("│")[1].split() == ["took", "in", "…␣w3", *went[:4]]
        assert gave.split("│")[1].split() == ["gave", "out", *went]
        assert any(row.startswith("│▶wte") for row in rows)
        assert "3 tokens to “␣w3” → “" + went[0] + "”  entropy" in screen(app)
        assert "beam 1 of 2, returned" in screen(app)
        chosen = [row for row in rows if "◂ chosen" in row]
        assert (len(chosen) == 1 and went[0] in chosen[0] and "█" in chosen[0]) or "▏" in chosen[0]
        await press(pilot, "end")
        assert "forward 5 of 5" in screen(app) and f"“{went[3]}” → “{went[4]}”" in screen(app)
        await press(pilot, "pagedown")
        assert "beam 2 of 2" in screen(app)
        await press(pilot, "home", "pageup")
        assert app.position == 2 and "beam 1 of 2" in screen(app)

    play(beams, script)


def test_attention_of_a_cached_forward_has_the_text_on_both_axes(beams: Trace) -> None:
    steps = describe.attention_steps(beams).tolist()

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(steps[-1])
        await press(pilot, "a")
        await app.workers.wait_for_complete()
        await press(pilot)
        shown = app.screen
        assert isinstance(shown, AttentionScreen)
        assert len(shown.tokens(keys=False)) == 1 and len(shown.tokens(keys=True)) == 7
        assert f" {shown.tokens(False)[0]} looks at ␣w" in screen(app)
        title = f"Head {shown.at_head} ─ forward 5 ─ row 1 of 2 ─ queries down, keys across"
        assert title in screen(app) and "g all forwards" in screen(app)
        await press(pilot, "g")
        await app.workers.wait_for_complete()
        await press(pilot)
        assert shown.tokens(False) == shown.tokens(True) and len(shown.tokens(True)) == 7
        assert "all forwards ─ beam 1 of 2, returned" in screen(app)
        await press(pilot, "home", *["up"] * 9, "enter")
        assert app.position < beams.ends[0]  # the first row was computed by the first forward

    play(beams, script)


def test_the_strongest_cell_is_chosen_first(beams: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "a")
        await app.workers.wait_for_complete()
        await press(pilot)
        shown = app.screen
        assert isinstance(shown, AttentionScreen) and shown.weights is not None
        assert shown.at_query > 0  # the first token looks at itself alone, which says nothing
        assert shown.weights[shown.at_head, shown.at_query, shown.at_key] == shown.weights[:, 1:].max()

    play(beams, script)


def test_an_older_trace_says_that_tokens_were_not_recorded(tmp_path: Path, beams: Trace) -> None:
    (beams.path / "rank-00000" / "answers.arrow").rename(tmp_path / "away")
    try:

        async def script(app: TraceApp, pilot: Pilot[None]) -> None:
            await press(pilot, "l")
            assert "was not recorded" in screen(app) and "gave out  " not in screen(app)
            await press(pilot, "pagedown", "a")
            await app.workers.wait_for_complete()
            await press(pilot)
            assert "all forwards" not in screen(app) and "looks at" in screen(app)

        play(Trace(beams.path), script)
    finally:
        (tmp_path / "away").rename(beams.path / "rank-00000" / "answers.arrow")
