"""Two runs side by side on the screen: it opens at the first real difference, and says what each mark stands for."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from textual.pilot import Pilot

import tftrace
from tftrace import Trace
from tftrace.cli import main
from tftrace.compare import DumpSide, Side, TraceSide, align, read_dump
from tftrace.compare.difference_map import difference_map
from tftrace.errors import TraceError
from tftrace.navigate.breakpoints import Breakpoint, parse_breakpoint
from tftrace.tui.pair.answerpane import AnswerPane
from tftrace.tui.pair.mappane import MapPane
from tftrace.tui.pair.pairapp import PairApp

from ..compare.runs import gpt2, ids, llama, recorded
from ..conftest import tiny
from .test_app import press, screen, settle

Script = Callable[[PairApp, Pilot[Any]], Awaitable[None]]
Runs = dict[str, Trace]


def play(
    left: Side, right: Side, script: Script, size: tuple[int, int] = (160, 48), stops: tuple[str, ...] = ()
) -> Any:
    """Compare two runs on a screen and let `script` press its keys; what the app returned."""
    breakpoints: list[Breakpoint] = [parse_breakpoint(one) for one in stops]
    app = PairApp(left, right, ("left.tftrace", "right.tftrace"), breakpoints=breakpoints)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await ready(app, pilot)
            await script(app, pilot)

    asyncio.run(run())
    return app.return_value


async def ready(app: PairApp, pilot: Pilot[Any]) -> None:
    await settle(pilot)
    await app.workers.wait_for_complete()
    await settle(pilot)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A GPT-2, the same again, and with another epsilon in its second layer."""
    folder, model, tokens = tmp_path_factory.mktemp("pair"), gpt2(), ids(1, 9)
    other = copy.deepcopy(model)
    other.transformer.h[1].ln_2.eps = 1e-3
    other.transformer.h[2].mlp.act = torch.nn.Identity()
    made = {"one": model, "same": model, "other": other}
    return {name: recorded(folder / name, one, partial(one, tokens), check=True) for name, one in made.items()}


def sides(runs: Runs, left: str, right: str) -> tuple[TraceSide, TraceSide]:
    return TraceSide(runs[left]), TraceSide(runs[right])


def row(shown: str) -> str:
    """The chosen row of the list."""
    return next(line for line in shown.splitlines() if line.startswith("│▶"))[2:44]


@pytest.mark.parametrize("size", [(160, 48), (80, 24)])
def test_it_opens_at_the_first_real_difference(runs: Runs, size: tuple[int, int]) -> None:
    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        shown = screen(app)
        assert "≠" in row(shown) and "h.1.ln_2" in row(shown)
        assert (
            shown.startswith("╭─ Answer ─ differs") and "The first difference is born at transformer.h.1.ln_2" in shown
        )
        assert "Difference by token ─ transformer.h.1.ln_2" in shown and "≠ born here: " in shown
        if size[0] == 160:  # both lines, both equations, and whose they are
            assert shown.count("hidden_states = self.ln_2(hidden_states") == 2 and shown.count("Ba et al. 2016") >= 2
            assert "left.tftrace ─ modeling_gpt2.py" in shown and "right.tftrace ─ modeling_gpt2.py" in shown
            assert "row 0 " in shown and sum(shown.count(sign) for sign in "░▒▓█") >= 9
        before = [one.mark for one in app.rows[: app.row]]
        after = [one.mark for one in app.rows[(app.row or 0) + 1 :]]
        assert set(before) == {"="} and set(after) <= {"~", "≠", "◁", "▷"} and "≠" in after

    play(*sides(runs, "one", "other"), script, size)


def test_a_key_goes_from_one_born_difference_to_the_next(runs: Runs) -> None:
    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        first = app.row
        await press(pilot, "n")
        assert app.row is not None and first is not None and app.row > first
        assert "≠" in row(screen(app)) and "h.2.mlp.act" in row(screen(app))
        await press(pilot, "n")
        assert "No difference is born after this." in screen(app) and "h.2.mlp.act" in row(screen(app))
        await press(pilot, "N")
        assert app.row == first
        await press(pilot, "j")
        assert "~" in row(screen(app)) and "~ inherited from an input" in screen(app)
        await press(pilot, "question_mark")
        assert "a difference is inherited from an input" in screen(app)

    play(*sides(runs, "one", "other"), script)


def test_nothing_differs_only_where_the_numbers_say_so(runs: Runs) -> None:
    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        assert {one.mark for one in app.rows} == {"="} and "The two runs are equal" in screen(app)
        assert "= every number is equal" in screen(app)

    play(*sides(runs, "one", "same"), script)


def test_equal_statistics_are_not_called_equal_numbers(tmp_path: Path) -> None:
    model, tokens = gpt2(), ids(1, 9)
    made = [recorded(tmp_path / name, model, lambda: model(tokens), values="none", prints=False) for name in "ab"]

    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        assert "=" not in {one.mark for one in app.rows} and "≈" in {one.mark for one in app.rows}
        assert "numbers were not kept" in screen(app) and "≈ " in str(app.query_one(AnswerPane).border_subtitle)
        assert "=" not in str(app.query_one(AnswerPane).border_subtitle)

    play(TraceSide(made[0]), TraceSide(made[1]), script)


def test_the_map_shows_the_difference_by_layer_and_token(runs: Runs) -> None:
    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        await press(pilot, "l")
        pane, shown = app.query_one(MapPane), screen(app)
        assert "Layers × tokens" in shown and "▶layer 1" in shown and pane.cell == (2, 0)
        lines = [line for line in shown.splitlines() if "layer 0" in line or "layer 2" in line]
        assert not any(sign in lines[0][:60] for sign in "░▒▓█") and any(sign in lines[1][:60] for sign in "░▒▓█")
        await press(pilot, "down", "right")
        assert pane.cell == (3, 1) and app.found is not None and app.row is not None
        chosen = app.rows[app.row]
        assert chosen.pair is not None and app.found.tensors[chosen.pair].layer == 2
        sizes = difference_map(app.found).values
        by_token = app.found.tensors[chosen.pair].by_token
        assert by_token is not None and sizes[3, 1] == by_token[1] == max(
            one.by_token[1] for one in app.found.tensors if one.layer == 2 and one.by_token is not None
        )  # fmt: skip
        await press(pilot, "enter")
        assert "Pairs of tensors" in screen(app)

    play(*sides(runs, "one", "other"), script)


def test_what_healed_and_what_has_no_counterpart_is_said(tmp_path: Path) -> None:
    model, tokens, later = llama(), ids(1, 8), torch.arange(5, 13)[None]
    a = recorded(tmp_path / "a", model, lambda: model(tokens))
    b = recorded(tmp_path / "b", model, lambda: model(tokens, position_ids=later), level="modules", values="all")

    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        marks = {one.mark for one in app.rows}
        assert marks >= {"°", "◁"} and "≠" not in marks
        await press(pilot, "g")
        at = next(n for n, one in enumerate(app.rows) if one.mark == "°")
        await press(pilot, *"j" * at)
        assert "° healed before the answer" in screen(app)
        at = next(n for n, one in enumerate(app.rows) if one.mark == "◁")
        await press(pilot, "g", *"j" * at)
        assert "right.tftrace has nothing that is paired with this." in screen(app)

    play(TraceSide(a), TraceSide(b), script)


def test_answers_stand_against_each_other(tmp_path: Path) -> None:
    said = {"a": "this is a good film", "b": "this is a bad film"}
    for name, text in said.items():
        assert main(["record", "demo:bert", "--text", text, "-o", str(tmp_path / name)]) == 0
    traces = [tftrace.load(tmp_path / name) for name in said]
    results = [str(one.meta["result"]) for one in traces]
    assert results[0] != results[1]

    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        assert f"The runs say: {results[0]} → {results[1]}" in screen(app)
        assert "good→bad" in screen(app) and "tokens: " in screen(app)

    play(TraceSide(traces[0]), TraceSide(traces[1]), script)


def test_a_dump_has_one_side(runs: Runs, tmp_path: Path) -> None:
    names = ["transformer.wte", "transformer.h.0.ln_1", "transformer.h.1.ln_2", "transformer.h.2.ln_1", "lm_head"]
    taken = TraceSide(runs["other"])
    steps = [(one, str(runs["other"].column("name")[one.step])) for one in taken.tensors if one.step is not None]
    arrays = {name: taken.array(next(one for one, path in steps if path == name)) for name in names}
    kept: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    np.savez(tmp_path / "mine.npz", **kept)

    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        shown = " ".join(screen(app).split())
        assert "right.tftrace has no steps and no source" in shown and "h.1.ln_2" in row(screen(app))
        assert "hidden_states = self.ln_2(hidden_states" in shown
        row_before = app.row
        await press(pilot, "2", "r")
        assert app.row == row_before and "Roles are known of recorded runs only." in screen(app)

    play(TraceSide(runs["one"]), DumpSide(read_dump(tmp_path / "mine.npz")), script)


def test_runs_that_cannot_be_compared_are_listed_by_role(tmp_path: Path) -> None:
    made = {}
    for family in ("bert", "gpt2"):
        model, inputs = tiny(family)
        given = {name: value for name, value in inputs.items() if name != "attention_mask"}
        made[family] = recorded(tmp_path / family, model, partial(model, **given), level="functions", check=True)
    pairs = align(made["bert"], made["gpt2"])
    norm = next(at for at, pair in enumerate(pairs) if pair.label == "layer 0 · norm of attention")

    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        if not app.by_role:
            await press(pilot, "r")
            await ready(app, pilot)
        assert len(app.broken) == 4 and screen(app).count("●") == 4
        await press(pilot, "c", "C", "g", *"j" * norm)
        shown = screen(app)
        assert "▶●≠   norm of attention" in shown
        assert "after its sublayer and the sum (post-norm)" in shown and "before its sublayer (pre-norm)" in shown
        await press(pilot, "g", "n", "1")

    stops = ("*.ln_1", "BertSelfAttention")
    returned = play(TraceSide(made["bert"]), TraceSide(made["gpt2"]), script, stops=stops)
    assert returned == (0, pairs[1].left)


def test_without_a_terminal_the_answer_is_printed(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(runs["one"].path), str(runs["other"].path)]) == 0
    assert capsys.readouterr().out.startswith("The first difference is born at transformer.h.1.ln_2")


def test_a_run_without_steps_or_tensors_is_one_sentence(tmp_path: Path, runs: Runs) -> None:
    empty = recorded(tmp_path / "empty", torch.nn.Identity(), lambda: None)
    with pytest.raises(TraceError, match="has no steps, as its recording ended before a model ran: record it"):
        PairApp(TraceSide(runs["one"]), TraceSide(empty), ("a", "b"))
    model = torch.nn.Identity()
    app = PairApp(TraceSide(recorded(tmp_path / "none", model, partial(model, 3))), TraceSide(runs["one"]), ("a", "b"))

    async def run() -> None:
        async with app.run_test(size=(160, 48)) as pilot:
            await ready(app, pilot)

    asyncio.run(run())
    assert app.failure is not None and "without tensors" in str(app.failure)


def test_the_screen_of_two_runs_is_shared_too(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(app: PairApp, pilot: Pilot[Any]) -> None:
        await press(pilot, "P", "enter")
        await ready(app, pilot)

    monkeypatch.chdir(tmp_path)
    play(*sides(runs, "one", "same"), script)
    assert [path.name for path in tmp_path.glob("*.svg")] == ["left-right-screen.svg"]
