"""A generation as a grid: layers are rows, forwards columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.navigate.generation_grid import BROKEN, DIFFERS, EMPTY, PLAIN, grid
from tftrace.trace import schema
from tftrace.tui import TraceApp

from ..support.builders import Builder, attention_trace
from ..tui.test_app import play, press, screen, settle
from .test_siblings import layered


def test_rows_are_the_largest_modules_that_are_no_more_than_a_layer(tmp_path: Path) -> None:
    trace = layered(tmp_path, layers=3, forwards=2)
    found = grid(trace)
    assert found.rows == ["layer.0", "layer.1", "layer.2"]
    assert found.cells.T.tolist() == [[2, 6, 10], [15, 19, 23]]
    assert (found.found == PLAIN).all()
    assert found.measured(trace, "time").tolist() == [[500, 500]] * 3
    assert np.isnan(found.measured(trace, "l2")).all()
    assert [found.cell_of(trace, at) for at in (0, 4, 12, 19)] == [(0, 0), (0, 0), (2, 0), (1, 1)]


def test_a_model_without_layers_is_laid_out_by_its_parts(tmp_path: Path) -> None:
    found = grid(attention_trace(tmp_path, forwards=2))
    assert found.rows == ["embed", "attention"]
    assert found.cells.tolist() == [[2, 17], [4, 19]]
    assert found.found.tolist() == [[PLAIN, PLAIN], [PLAIN, BROKEN]]  # NaN is worse than a difference


def test_parts_that_some_forwards_lack_are_empty_cells(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "cache.tftrace")
    for forward, parts in enumerate((("encoder.layer.0", "decoder.layer.0"), ("decoder.layer.0",))):
        builder.step(0, forward=forward)
        for name in parts:
            at = builder.step(1, name=name, forward=forward)
            builder.tensor(at, schema.OUTPUT, "", l2=2.0 + forward)
    builder.check(at, "linear", schema.DIFFERS)
    trace = builder.done()
    found = grid(trace)
    assert found.rows == ["encoder.layer.0", "decoder.layer.0"]
    assert found.cells.tolist() == [[1, -1], [2, 4]]
    assert found.found.tolist() == [[PLAIN, EMPTY], [PLAIN, DIFFERS]]
    np.testing.assert_array_equal(found.measured(trace, "l2"), [[2, np.nan], [2, 3]])
    assert grid(Builder(tmp_path / "empty.tftrace").done()).rows == []


def test_a_forward_that_its_outermost_step_does_not_tell(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "damaged.tftrace")
    builder.step(0, forward=0)
    builder.step(1, name="decoder.layer.0", forward=7)
    found = grid(builder.done())
    assert (found.forwards, found.roots, found.cells.tolist()) == ([7], [0], [[1]])


def test_arrows_and_clicks_walk_the_grid(tmp_path: Path) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(4)
        await press(pilot, "l")
        shown = screen(app)
        assert "time in µs of layers × forwards" in shown
        assert "forward 1 of 2" in shown
        assert "layer.1" in shown
        await press(pilot, "right", "down")
        assert app.position == 19
        await press(pilot, "down", "down", "right")  # the edge
        assert app.position == 23
        rows = shown.splitlines()
        y = next(at for at, row in enumerate(rows) if "layer.0" in row)
        await pilot.click("#grid", offset=(rows[y].index("layer.0") + 9, y))
        await settle(pilot)
        assert app.position == 2
        await press(pilot, "enter")
        assert "▾ layer.0" in screen(app)

    play(layered(tmp_path), script)


def test_what_is_wrong_shows_in_its_cell(tmp_path: Path) -> None:
    trace: Trace = attention_trace(tmp_path, forwards=2)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "l", "r")
        assert "L2 norm of layers × forwards" in screen(app)
        assert "×" in next(row for row in screen(app).splitlines() if "attention " in row)

    play(trace, script)
