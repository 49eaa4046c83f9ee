"""Differences by design on the screen: marked △ in tree, bar and list of stops, and passed by `c` unless asked."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tftrace.trace import schema
from tftrace.tui import TraceApp
from tftrace.tui.panes.stopspane import StopsPane

from ..navigate.test_two_kinds import LAYERS, made
from .test_app import play, press, screen


def rows(app: TraceApp, word: str) -> list[str]:
    return [line for line in screen(app).splitlines() if word in line]


def halts(app: TraceApp) -> list[int]:
    assert app.halts is not None
    return [int(at) for at in app.halts]


def test_marks_and_stops(tmp_path: Path) -> None:
    trace = made(tmp_path)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert any("△" in row for row in rows(app, "layer.1")) and any("✗" in row for row in rows(app, "layer.2"))
        assert rows(app, "△ by design; c goes past") and rows(app, "✗ first difference: layer.2")
        await press(pilot, "c")
        assert app.position == 3
        # WHEN the row of designs is switched on THEN c stops there too, and Enter leads there
        app.query_one(StopsPane).focus()
        await press(pilot, "down", "space")
        assert rows(app, "△ by design; c stops there") and halts(app) == [0, 2, 3, 4]
        await press(pilot, "enter")
        assert app.position == 2 and "△ differs by design" in screen(app)
        await press(pilot, "space")
        assert halts(app) == [0, 3, 4]

    play(trace, script)


def test_a_folded_call_shows_the_worst_inside(tmp_path: Path) -> None:
    for layers, mark in ((LAYERS, "✗"), (LAYERS[:2], "△"), (LAYERS[:1], "✓")):
        trace = made(tmp_path, (("outer", None, schema.HOLDS), *layers))

        async def script(app: TraceApp, pilot: Pilot[None], mark: str = mark) -> None:
            app.outline.fold([0])
            app.go(0)
            await press(pilot)
            (row,) = rows(app, "▸ Model")
            assert row.split("│")[1].rstrip()[-1] == mark if mark != "✓" else "△" not in row and "✗" not in row

        play(trace, script)
