"""What the screen shows of tensors and attention, on a real recording, driven by keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

import tftrace
from tftrace import Trace, describe
from tftrace.cli import main
from tftrace.tui import TraceApp
from tftrace.tui.paint.heatmap import digits
from tftrace.tui.panes.sourcepane import SourcePane
from tftrace.tui.panes.tensorpane import TensorPane
from tftrace.tui.screens.attentionscreen import AttentionScreen

from .test_app import play, press, screen, settle


def find(trace: Trace, kind: str) -> int:
    return next(step.position for step in trace if step.type.endswith(kind))


async def ready(app: TraceApp, pilot: Pilot[Any]) -> None:
    """What is read off the screen's thread has arrived."""
    await pilot.pause(0.15)
    await app.workers.wait_for_complete()
    await settle(pilot)


def colours(app: TraceApp, text: str) -> list[str]:
    """The colours of the segments of the screen that are just this text."""
    segments = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
    return [s.style.color.name for s in segments if s.text.strip() == text and s.style and s.style.color]


def test_a_symbol_and_its_tensor_have_one_colour_and_one_letter(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(find(film, "attention_forward"))
        await ready(app, pilot)
        shown = screen(app)
        assert "→ Q query" in shown and "← [0]" in shown  # the paper has no letter for the result
        seen = [colours(app, symbol) for symbol in "QKV"]
        assert all(len(found) >= 3 and len(set(found)) == 1 for found in seen)  # twice drawn, table
        assert len({found[0] for found in seen}) == 3

    play(film, script)


def test_columns_keep_their_names_and_a_module_its_class(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(next(step.position for step in film if step.type == "BertForSequenceClassification"))
        await press(pilot, "4")
        pane = app.query_one(TensorPane)
        pane.styles.height = 6
        await settle(pilot)
        pane.jump(2)
        await settle(pilot)
        assert "shape" in pane.render_line(0).text and "input_ids" not in pane.render_line(0).text
        app.go(find(film, "GELUActivation"))
        await settle(pilot)
        assert "iate_act_fn  GELUActivation" in screen(app).splitlines()[-1]

    play(film, script)
    play(film, script, (100, 30))


def test_the_chosen_tensor_has_its_axes_histogram_and_layers_below(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(find(film, "attention_forward"))
        await press(pilot, "tab")  # from the result round to the first
        await ready(app, pilot)
        shown = screen(app)
        assert "▸ → Q query" in shown
        assert "query  B=1  H=4  Tq=8  D=16  float32 2.05 kB" in shown
        assert any(bar in shown for bar in "▂▃▅▆▇")
        assert "layers" in shown and "‖·‖ 0: 26.55" in shown
        await press(pilot, "4", "down")
        assert "▸ → K key" in screen(app)

    play(film, script)


def test_from_a_tensor_to_its_maker_and_its_takers_and_back(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        start = find(film, "BertSelfOutput")
        app.go(start)
        await press(pilot, "backspace")
        assert "no jump to undo" in screen(app)
        await press(pilot, "tab", "tab", "p")  # input_tensor: the result of the embeddings
        made = film[app.position]
        assert "embeddings" in made.name or made.type == "Dropout"
        await press(pilot, "o")
        shown = screen(app)
        assert "goes to" in shown and "BertSelfAttention" in shown  # the layer takes it more than once
        await press(pilot, "escape", "backspace")
        assert app.position == start
        for there in (0, 5, 9):
            app.jump(there)
        await press(pilot, "backspace", "backspace")  # each jump is remembered
        assert app.position == 0
        await press(pilot, "backspace")
        assert app.position == start

    play(film, script)


def test_the_head_that_looks_at_the_negation_is_found(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "a")  # from the first step on
        await ready(app, pilot)
        shown = screen(app)
        assert isinstance(app.screen, AttentionScreen) and app.screen.weights is not None
        head, query, key = describe.strongest_cell(app.screen.weights)  # where most is to be seen
        assert f"Head {head} ─ queries down, keys across" in shown and f"query {query}, key {key}, head {head}" in shown
        assert "rebuilt from query, key and mask" in shown
        assert isinstance(app.screen, AttentionScreen) and app.screen.attention is not None
        weights, tokens = app.screen.attention.probabilities, app.screen.tokens(keys=True)
        assert weights is not None
        for means in describe.mean_key_weights(weights)[0]:  # each small map says in words what its head looks most at
            assert f"{digits(float(means.max()), 3)} {tokens[int(means.argmax())]} " in shown
        await press(pilot, *"H" * head, "pageup", "home", "right", "right", "right")
        shown = screen(app)
        assert "[CLS] looks at not with weight 0.9" in shown
        assert "mean weight on not, by layer and head" in shown
        assert "★ layer 0, head 1 looks most at not: 0.99" in shown
        assert "scores: sdpa_attention.py:" in shown
        assert ".99★" in next(row for row in shown.split("\n") if "layer 0  " in row)
        await press(pilot, "h", "right_square_bracket")
        await ready(app, pilot)
        shown = screen(app)
        assert "Attention ─ layer 1" in shown and "▸head 1" in shown
        await press(pilot, "enter")
        step = film[app.position]  # the line that the scores come from
        assert "scaled_dot_product_attention(" in step.source[0] and ".layer.1." in step.name
        await press(pilot, "backspace")
        assert app.position == 0

    play(film, script)


def test_values_are_cut_by_the_names_of_axes(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        at = find(film, "attention_forward")
        app.go(at)
        await press(pilot, "tab", "v")
        await ready(app, pilot)
        await press(pilot, "equals_sign", *"H=3", "enter", "down", "right", "right")
        shown = screen(app)
        value = film.value(at, "query")[0, 3, 1, 2]
        assert "B=0 [H=3] Tq=:  D=:" in shown
        assert f"query[0, 3, 1, 2] = {value:.4g}   Tq: this" in shown
        await press(pilot, "equals_sign", *"H=9", "enter")
        assert "H goes from 0 to 3." in screen(app)
        await press(pilot, "s", "escape")  # no step while values are looked at
        assert app.position == at
        assert "Steps" in screen(app)

    play(film, script)


def test_a_trace_without_values_says_how_to_keep_them(tmp_path: Path) -> None:
    path = tmp_path / "bare.tftrace"
    assert main(["record", "demo:bert", "-o", str(path), "--values", "none", "--layers", "0"]) == 0
    trace = tftrace.load(path)

    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        app.go(find(trace, "attention_forward"))
        await press(pilot, "v")
        assert "[0] was not kept whole: record with --values auto." in screen(app)
        await press(pilot, "a")
        await ready(app, pilot)
        assert "query and key not kept: record with --values auto" in screen(app)
        await press(pilot, "escape")
        assert "Steps" in screen(app)

    play(trace, script, size=(100, 30))


def test_attention_is_taken_apart_in_five_steps(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "i")
        assert "no attention at this step" in screen(app)
        app.go(find(film, "BertSelfAttention"))
        await settle(pilot)
        shown = screen(app)
        assert all(f"▸ {n} {name}" in shown for n, name in enumerate(("project", "score", "scale and mask"), 1))
        # every line is reached, and the source shows it
        await press(pilot, "3", "down", "down")
        assert "▾ 1 project" in screen(app) and "modeling_bert.py ─ BertSelfAttention.forward" in screen(app)
        source = app.query_one(SourcePane)
        seen = [source.place]
        await press(pilot, "down")
        seen.append(source.place)
        await press(pilot, "down")
        seen.append(source.place)
        numbers = [place[1] for place in seen if place]
        assert len(set(numbers)) == 3 and numbers == sorted(numbers)
        await press(pilot, "down")
        await ready(app, pilot)
        shown = screen(app)
        assert source.place and source.place[0].endswith("sdpa_attention.py")
        assert "▾ 2 score" in shown and "S = QKᵀ" in shown and "▾ 1" not in shown
        assert "fused: one kernel takes all these steps" in shown and "--attn eager" in shown
        assert "scores  rebuilt" in shown and "1×4×8×8" in shown
        await press(pilot, "enter")
        assert "scaled_dot_product_attention(" in film[app.position].source[0]
        assert "▶▾ 2 score" in screen(app)
        await press(pilot, "i")
        assert "▾ 3 scale and mask" in screen(app)

    play(film, script)


def test_the_walk_goes_from_paper_to_paper(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        assert "start    w walk" in screen(app)
        kinds: list[str] = []
        while "sdpa_attention_forward" not in kinds:
            await press(pilot, "w")
            kinds.append(film[app.position].type)
            assert f"walk {len(kinds) + 1}/" in screen(app)  # the first stop is the model itself
        told = [kind for kind in kinds if kind in ("BertEmbeddings", "LayerNorm", "BertSelfAttention")]
        assert told == ["BertEmbeddings", "LayerNorm", "BertSelfAttention"]
        assert "a shows its heads" in screen(app)
        await press(pilot, "W", "backspace")
        assert film[app.position].type == "sdpa_attention_forward"

    play(film, script)


def test_a_cell_is_explained_by_the_terms_of_its_equation(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        at = find(film, "attention_forward")
        app.go(at)
        await press(pilot, "x")
        await ready(app, pilot)
        await press(pilot, "x")
        await ready(app, pilot)
        shown = screen(app)
        value = film.value(at, "[0]", "output")[0, 0, 0, 0]
        assert f"out[0, 0, 0, 0] = {value:.6g}  [CLS]" in shown
        first = next(row for row in shown.split("\n") if "█" * 8 + " not" in row)
        assert "P 0.95" in first and "value[0,0,3,0] modeling_bert.py:" in first
        assert "from the recorded number" in shown
        await press(pilot, "enter")  # to the line that made the value
        assert "self.value(" in film[app.position].source[0]

    play(film, script)


def test_an_attention_weight_is_explained_by_its_row_of_softmax(film: Trace) -> None:
    async def script(app: TraceApp, pilot: Pilot[None]) -> None:
        await press(pilot, "a")
        await ready(app, pilot)
        assert isinstance(app.screen, AttentionScreen)
        await press(pilot, *"H" * app.screen.at_head, "pageup", "home", "right", "x")
        await ready(app, pilot)
        shown = screen(app)
        assert "[CLS] looks at this, head 0" in shown and "◂ this cell" in shown
        assert "their sum 1.000000" in shown
        await press(pilot, "escape", "escape")
        assert "Steps" in screen(app)

    play(film, script)
