"""What users stumbled over on the screen, each with the test that it no longer happens."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from textual.pilot import Pilot

import tftrace
from tftrace import Trace, flow
from tftrace.errors import TraceError
from tftrace.explain.attention_weights import attention
from tftrace.navigate import findings
from tftrace.tui import TraceApp, editor
from tftrace.tui.dialogs.prompt import Prompt
from tftrace.tui.paint.heatmap import digits
from tftrace.tui.panes.barpane import BarPane
from tftrace.tui.panes.tensorpane import TensorPane
from tftrace.tui.panes.treepane import StepsPane
from tftrace.tui.screens.celltable import CellMap, Cells

from ..support.builders import attention_trace
from .test_app import play, press, screen


class Causal(torch.nn.Module):
    """Attention as a user writes it, with a mask of minus infinities."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (torch.nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.q(x), self.k(x), self.v(x)
        scores = query @ key.transpose(-1, -2) / math.sqrt(8)
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        hidden = scores.masked_fill(later, -math.inf)
        weights = hidden.softmax(-1)
        mixed = weights @ value
        mixed = mixed.transpose(0, 1)
        return self.o(mixed)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    torch.manual_seed(0)
    model = Causal().eval()
    with torch.no_grad(), tftrace.record(model, path=tmp_path_factory.mktemp("causal") / "c.tftrace") as trace:
        model(torch.randn(1, 6, 8))
    return trace


@pytest.fixture
def toy(tmp_path: Path) -> Trace:
    return attention_trace(tmp_path, forwards=2)


def line_with(trace: Trace, text: str) -> int:
    """The first step whose line begins so."""
    return next(at for at in range(len(trace)) if tftrace.describe.statement(trace, at).startswith(text))


async def type_in(pilot: Pilot[Any], text: str) -> None:
    names = {" ": "space", ".": "full_stop", "*": "asterisk", ">": "greater_than_sign", "-": "minus"}
    await press(pilot, *(names.get(char, char) for char in text))


def test_the_mask_of_a_decoder_is_no_alarm(causal: Trace) -> None:
    assert findings.has_inf(causal).any() and not findings.alarming(causal).any()

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "z")
        assert "×" not in "".join(line.plain for line in app.query_one(BarPane).lines)
        assert not re.search(r"\bInf\b", screen(app).partition("Source")[0])

    play(causal, script)


def test_a_tensor_leads_to_the_lines_that_read_it_by_name(causal: Trace) -> None:
    mixed, turned = line_with(causal, "mixed = weights"), line_with(causal, "mixed = mixed.transpose")
    hidden, weights = line_with(causal, "hidden = "), line_with(causal, "weights = ")
    number = {row.name: row.tensor for at in (mixed, hidden, weights) for row in causal.tensors_of(at)}
    # the line after reads another tensor of the same name
    assert flow.takers(causal, mixed, number["mixed"]) == [turned]
    assert flow.takers(causal, hidden, number["hidden"]) == [weights]
    # what a step made itself was made from what its line reads
    assert [at for at, _ in flow.makers(causal, weights, number["weights"])] == [hidden]
    linear = causal.find("o")[0].position
    [(back, _)] = flow.makers(causal, linear, causal.tensors_of(linear)[-1].tensor)
    assert back == turned

    # nothing but the ends of the run is a dead end
    last = len(causal) - 1
    for at in range(len(causal)):
        for row in causal.tensors_of(at):
            if row.role in ("output", "local") and row.name != "later":
                assert flow.makers(causal, at, row.tensor, at), (at, row.name)
                assert flow.takers(causal, at, row.tensor) or at in (0, last, linear), (at, row.name)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(mixed)
        await press(pilot, "o")
        assert app.position == turned
        app.go(linear)
        await press(pilot, "p")  # on a result: there is always somewhere to go
        assert app.position == turned
        app.go(0)
        await press(pilot, "1", "p")
        assert app.position != 0

    play(causal, script)


def test_a_breakpoint_is_typed_as_the_manual_writes_it(toy: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(6)
        await press(pilot, "B")
        assert app.query_one(Prompt).typed == ""
        await type_in(pilot, "*.attention when max > 1e3")
        await press(pilot, "enter")
        assert str(app.breakpoints.all[0]) == "*.attention when max > 1e3"
        assert "Breakpoint set at *.attention when max > 1e3" in screen(app)

    play(toy, script)


def test_the_steps_grow_by_a_key_until_whole_lines_can_be_read(toy: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        pane = app.query_one(StepsPane)
        narrow = pane.size.width
        await press(pilot, "greater_than_sign")
        wide = pane.size.width
        await press(pilot, "greater_than_sign", "greater_than_sign")
        assert narrow + 20 < wide < pane.size.width and "as wide as" in screen(app)
        await press(pilot, "less_than_sign", "less_than_sign")
        assert pane.size.width == narrow

    play(toy, script)


def test_a_low_screen_keeps_its_rows_for_the_steps(toy: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "Stops" not in screen(app) and app.query_one(StepsPane).size.height > 24
        await press(pilot, "5")
        assert "Stops" in screen(app)
        await press(pilot, "escape")
        assert "Stops" not in screen(app)
        before = app.query_one("#equation").size.height
        await press(pilot, "3")
        assert app.query_one("#equation").size.height > before

    play(toy, script, size=(100, 30))


def test_the_palette_knows_the_words_that_users_look_for(toy: Trace) -> None:
    from tftrace.tui.command_palette import KeyCommands

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        for word in ("theme", "export", "screenshot", "language", "share"):
            assert [hit async for hit in KeyCommands(app.screen).search(word)], word

    play(toy, script)


def test_the_end_of_the_walk_offers_what_comes_next(toy: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        for _ in range(9):
            await press(pilot, "w")
        assert "That was the last" in screen(app) and "Next: a attention maps" in screen(app)

    play(toy, script)


def test_the_file_of_a_library_is_opened_so_that_it_cannot_be_changed(toy: Trace, tmp_path: Path) -> None:
    installed = str(Path(torch.__file__))
    assert editor.is_installed(installed) and editor.is_installed(math.__file__ or sys.modules["os"].__file__ or "")
    assert not editor.is_installed(str(tmp_path / "toy.py"))
    assert editor.command("vim", Path("a.py"), 7, read_only=True) == ["vim", "-R", "+7", "a.py"]
    # an editor that knows no such option gets a copy, which cannot be written to
    folder = tmp_path / "site-packages"
    folder.mkdir()
    trace = attention_trace(folder)
    copy, live = editor.file_to_open(trace, str(folder / "toy.py"), "code")
    assert not live and copy != folder / "toy.py" and not copy.stat().st_mode & 0o222
    assert editor.file_to_open(trace, str(folder / "toy.py"), "vim") == (folder / "toy.py", True)


def test_the_prompt_of_an_export_suggests_a_report_and_keeps_what_is_there(
    toy: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.html").write_text("mine")

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "E")
        assert app.query_one(Prompt).typed == "toy.html"
        await press(pilot, "enter")
        assert "toy.html exists already" in screen(app)
        await press(pilot, "backspace", "backspace", "backspace", "backspace", *"csv", "enter")
        await app.workers.wait_for_complete()

    play(toy, script)
    assert (tmp_path / "toy.html").read_text() == "mine" and (tmp_path / "toy.csv").read_text().startswith("step")


def test_the_columns_of_the_tensors_never_move(toy: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        heads = set()
        for _ in range(14):
            await press(pilot, "s")
            pane = app.query_one(TensorPane)
            if pane.chosen is not None:
                heads.add(pane.lines[0].plain)
        [head] = heads
        assert all(word in head for word in ("name", "shape", "μ", "max"))

    play(toy, script)


def test_what_the_lines_of_an_attention_bound_is_not_rebuilt(causal: Trace) -> None:
    [at] = tftrace.describe.attention_steps(causal)[:1]
    found = {one.key: one for one in tftrace.describe.substeps(causal, int(at), rebuilt=attention(causal, int(at)))}
    hidden = {tensor.symbol: tensor for tensor in found["scale and mask"].tensors}
    assert hidden["Z"].name == "hidden" and not hidden["Z"].rebuilt
    assert [tensor.symbol for tensor in found["score"].tensors][-1] == "S/√dₖ"  # the line scales at once
    assert "scores" in [tensor.name for tensor in found["score"].tensors]
    assert not any(tensor.rebuilt for one in found.values() for tensor in one.tensors)
    assert not found["softmax"].fused


def test_a_map_uses_the_room_that_it_has(toy: Trace) -> None:
    def shown(columns: int) -> tuple[int, int, int]:
        """How many columns are seen, and the width and height of a cell."""
        found: list[tuple[int, int, int]] = []

        async def script(app: TraceApp, pilot: Pilot[None]) -> None:
            pane = CellMap(id="map")
            await app.mount(pane)
            pane.styles.width, pane.styles.height = 112, 40
            await press(pilot)
            tokens = [str(at) for at in range(columns)]
            square = Cells(np.eye(columns), tokens, tokens, digits, narrow=5, wide=24, tight=4)
            pane.show(square, 0, 0)
            *_, width, high = pane._origin
            header = pane.lines[0].plain if columns < 100 else ""
            found.append((sum(token in header.split() for token in tokens), width, high))

        play(toy, script)
        return found[0]

    assert shown(25)[:2] == (25, 4)  # all of them, in narrower cells
    seen, width, high = shown(5)  # few tokens have large cells, about as high as they are wide
    assert seen == 5 and width > 11 and high == min(width // 2, 36 // 5)


@pytest.mark.parametrize("problem", [TraceError("It is damaged: record it again."), KeyError("a secret")])
def test_a_screen_that_fails_says_so_in_one_sentence(
    problem: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        secret = "a local variable"
        assert secret
        raise problem

    app = TraceApp(attention_trace(tmp_path))
    monkeypatch.setattr(TensorPane, "show", fail)
    with pytest.raises(TraceError) as raised:
        app.run(headless=True, size=(120, 40))
    said = str(raised.value)
    if isinstance(problem, TraceError):
        assert raised.value is problem
    else:
        assert said.startswith("The screen had to close (KeyError: 'a secret'): ") and "tftrace show" in said
    assert capfd.readouterr() == ("", "")  # no page of locals
