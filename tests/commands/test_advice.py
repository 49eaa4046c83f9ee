"""What a sentence advises exists, has not been done already, and does not claim what was not looked at."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tftrace
from tftrace.cli import _names, app, main
from tftrace.compare import TraceSide
from tftrace.errors import TraceError
from tftrace.explain.attention_weights import attention
from tftrace.maintain.merge import merge
from tftrace.navigate.value_advice import advice
from tftrace.trace import schema
from tftrace.tui import TraceApp
from tftrace.tui.pair.pairapp import PairApp

from ..conftest import tiny
from ..support.builders import Builder, attention_trace, tree_trace
from ..tui.test_app import screen, settle

PACKAGE = Path(tftrace.__file__).parent
ROOT = PACKAGE.parent
_QUOTED = re.compile(r"(?:['`(]|: )tftrace ([a-z][a-z-]*)(?: ([a-z]+))?")
_TYPED = re.compile(r"^(?:\$ )?tftrace ([a-z][a-z-]*)(?: ([a-z]+))?", re.MULTILINE)


def commands(file: Path) -> Iterator[tuple[str, str]]:
    """Every command of ours that a file names to its reader, with the word after it."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        for found in (*_QUOTED.finditer(text), *_TYPED.finditer(text)):
            yield found[1], found[2] or ""
    else:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for found in _QUOTED.finditer(node.value):
                    yield found[1], found[2] or ""


def test_every_command_that_is_named_exists() -> None:
    beside = [ROOT.glob("*.md"), (ROOT / "docs").glob("*.md"), (ROOT / "examples").rglob("*.py")]
    files = [*PACKAGE.rglob("*.py"), *(file for found in beside for file in found)]
    named = {(file.name, *one) for file in files for one in commands(file)}
    assert {name for _, name, _ in named} >= {"record", "view", "run", "show"}
    assert sorted((file, name) for file, name, _ in named if name.replace("-", "_") not in _names) == []
    within = {word for _, name, word in named if name == "recipes" and word}
    assert within and all(word in app["recipes"] for word in within)


def test_the_test_above_sees_a_command_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("""said = f"{1} are not merged: compare them with 'tftrace compare'."\n""")
    (tmp_path / "a.md").write_text("```console\ntftrace compare a b\n```\n")
    assert [name for file in ("a.py", "a.md") for name, _ in commands(tmp_path / file)] == ["compare"] * 2


def test_traces_that_are_not_merged_can_be_looked_at_together(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    traces = tree_trace(tmp_path, [0]), Builder(tmp_path / "other" / "x", launch="another").done()
    with pytest.raises(TraceError, match="'tftrace view A B' shows two side by side"):
        merge([trace.path for trace in traces], tmp_path / "both")


def test_a_run_whose_checks_were_on_is_not_told_to_switch_them_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    class Scale(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    model = Scale()
    with tftrace.record(model, path=tmp_path / "run", check=True):
        model(torch.ones(2))
    assert main(["check", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "none that is known describes a step of it" in said and "record it without" not in said


def pressed(trace: tftrace.Trace, *keys: str, start: int = 0) -> str:
    """The screen after some keys."""

    async def run() -> str:
        app = TraceApp(trace, start=start)
        async with app.run_test(size=(160, 48)) as pilot:
            await pilot.press(*keys)
            await settle(pilot)
            await app.workers.wait_for_complete()
            await settle(pilot)
            return screen(app)

    return asyncio.run(run())


def test_attention_by_hand_is_not_sent_to_the_level_it_was_recorded_at(tmp_path: Path) -> None:
    for level, said in (("lines", "an equation of yours over Q, K and V"), ("modules", "record at level functions")):
        builder = Builder(tmp_path / level, level=level)
        builder.step(0, type="Mine")
        assert said in pressed(builder.done(), "a")


@pytest.mark.parametrize("checked", [True, False])
def test_dropout_is_named_where_it_is_why_weights_cannot_be_rebuilt(checked: bool, tmp_path: Path) -> None:
    import torch

    model, inputs = tiny("bert", "sdpa")
    for module in model.train().modules():
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.5
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    torch.manual_seed(0)
    options: dict[str, Any] = {"level": "functions", "values": "auto", "check": checked}
    with torch.no_grad(), tftrace.record(model, tmp_path / "run", **options) as trace:
        model(**inputs)
    step = next(step for step in trace if step.type.endswith("attention_forward"))
    found = attention(trace, step.position)
    assert found is not None and found.probabilities is None and found.rebuilt
    assert ("Dropout was active" if checked else "if dropout was active") in found.reason


def test_what_is_advised_for_a_tensor_that_was_not_kept(tmp_path: Path) -> None:
    def advised(name: str, kept: bool = False, dtype: str = "float32", **meta: object) -> str:
        builder = Builder(tmp_path / name, **meta)
        step = builder.step(0)
        builder.tensor(step, schema.PARAMETER, "weight", value="00000-00000.safetensors#0" if kept else None)
        builder.tensor(step, schema.OUTPUT, "", dtype=dtype)
        trace = builder.done()
        return advice(trace, trace.tensors_of(0)[1])

    assert advised("some") == "record with --values all"
    assert advised("more", values="auto") == "record with --values all"
    assert advised("few", values="screen") == "record with --values auto"
    assert advised("cell", values="none", face="notebook") == "record with %%trace --values auto"
    assert advised("python", values="screen", face="record") == "record with tftrace.record(model, values='auto')"
    assert advised("again", values="auto", face="record") == "record with tftrace.record(model, values='all')"
    assert advised("traced", values=["*"], face="traced") == "record with @tftrace.traced(values='all')"
    assert advised("hostile", values=7, face=[1]) == "record with --values all"
    assert advised("all", kept=True).startswith("sparse and nested tensors cannot be")
    assert advised("complex", dtype="complex128") == "complex128 cannot be kept"
    assert advised("pruned", pruned=["Of the tensors kept whole 3 were pruned."]).startswith("kept tensors were pruned")


def test_what_is_known_of_as_kept_can_be_kept() -> None:
    from tftrace.capture.measure.kept_values import _DTYPES
    from tftrace.navigate.value_advice import _KEPT

    assert {str(dtype).removeprefix("torch.") for dtype in _DTYPES} == _KEPT


def test_roles_in_which_nothing_differs_say_what_was_compared(tmp_path: Path) -> None:
    # GIVEN two runs side by side that are listed by role, whose numbers nobody looks at there
    trace = attention_trace(tmp_path)
    compared = "same class, equation, verdict, sizes and parameters; values not compared"

    async def run() -> str:
        app = PairApp(TraceSide(trace), TraceSide(trace), ("one", "two"))
        async with app.run_test(size=(160, 48)) as pilot:
            for key in (None, "r"):
                await pilot.press(*filter(None, [key]))
                await settle(pilot)
                await app.workers.wait_for_complete()
                await settle(pilot)
            return screen(app)

    shown = asyncio.run(run())
    assert f"the {compared}" in shown and "▶ · model" in shown
