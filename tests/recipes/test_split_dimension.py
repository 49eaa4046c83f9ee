"""A few positions along a reduced dimension can be checked without the other cells of the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.check.cells import Reading
from tftrace.capture.check.judge import Outcome, judge
from tftrace.capture.measure.precision import Precision
from tftrace.recipes.evaluate.fitting import Fit, fit
from tftrace.recipes.evaluate.split_dimension import split
from tftrace.recipes.format.library import library
from tftrace.recipes.format.recipe import parse
from tftrace.recipes.formula.language import FormulaError

pytestmark = pytest.mark.usefixtures("no_grad")

NORM = {
    "id": "norm",
    "cite": "-",
    "tex": "n",
    "formula": "s = x + f; out = (s - mean(s, D)) / sqrt(var(s, D) + e) * g",
    "dims": {"x": "T D", "f": "T D", "g": "D", "out": "T D"},
    "bind": [{"class": "Norm", "x": "arg:x", "f": "arg:f", "g": "param:g", "e": "attr:e", "out": "return"}],
    "variant": [{"name": "without the sum", "formula": "out = (x - mean(x, D)) / sqrt(var(x, D) + e) * g"}],
}


def fitted(formula: str, width: int = 96, **others: Any) -> Fit:
    equation = parse(NORM | {"formula": formula} | others, "norm.toml")
    shapes = {"x": (5, width), "f": (5, width), "g": (width,), "out": (5, width)}
    return fit(equation, tuple(shapes.items()), (("e", 1e-5),))


@pytest.mark.parametrize(
    ("formula", "drawn"),
    [
        ("out = x - mean(x, D)", ("T", "D′")),
        ("s = x + f; out = (s - mean(s, D)) / sqrt(var(s, D) + e) * g", ("T", "D′")),
        ("out = -max(x, amax(f, D)) * g", ("T", "D′")),
        ("out = x + f", ("T", "D")),  # nothing is reduced
        ("out = softmax(x, D)", ("T",)),  # each cell has the whole row in it
        ("out = x * softmax(f, D)", ("T",)),
        ("out = cumsum(x, D) - mean(x, D)", ("T",)),
        ("out = x - x[D=0]", ("T", "D′")),
    ],
)
def test_a_few_cells_of_a_row_are_drawn_where_they_stand_alone(formula: str, drawn: tuple[str, ...]) -> None:
    assert fitted(formula, variant=[]).plan.statements[0].independent == drawn


def test_short_rows_and_several_results_are_left_as_they_are() -> None:
    assert fitted("out = x - mean(x, D)", width=63, variant=[]).plan.statements[0].independent == ("T",)
    two = fitted("f = x * 2; out = x - mean(x, D)", variant=[]).plan
    assert [s.independent for s in two.statements] == [("T", "D"), ("T",)]
    with pytest.raises(FormulaError):
        split(two, "D")


def test_variants_are_read_with_the_same_cells_or_the_equation_is_left_as_it_is() -> None:
    plain = "out = x - mean(x, D)"
    alike = fitted(plain, variant=[{"name": "sum", "formula": "out = x + f"}])
    assert [p.statements[0].independent for p in (alike.plan, alike.variants[0][1])] == [("T", "D′")] * 2
    other = fitted(plain, variant=[{"name": "softmax", "formula": "out = softmax(x, D)"}])
    assert other.together and other.plan.statements[0].independent == ("T",)


def outcome(change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Outcome | str, list[str]]:
    """Of the norm whose result was changed, and the variants that fit."""
    torch.manual_seed(0)
    x, f, g = torch.randn(5, 96), torch.randn(5, 96), torch.randn(96)
    out = change(nn.functional.layer_norm(x + f, (96,)) * g)
    tensors = {"x": x, "f": f, "g": g, "out": out}
    form = fitted(str(NORM["formula"]))
    reading = Reading(form, {"e": 1e-5}, dict.fromkeys(tensors, torch.float32))
    units = reading.units(tensors, Precision())
    columns = [part[None] for part in reading.draw(tensors, 7, units)]
    assert sorted(column.shape[1:] for column in columns) == sorted([(1, 96)] * 2 + [(1, 16)] * 3 + [(16,)])
    judged = [judge(reading, one, units, columns)[0] for one in (form.plan, *(v for _, v in form.variants))]
    fitting = [v for (v, _), o in zip(form.variants, judged[1:], strict=True) if isinstance(o, Outcome) and o.holds]
    return judged[0], fitting


def test_the_cells_say_what_the_row_says() -> None:
    sound, fitting = outcome(lambda out: out)
    assert isinstance(sound, Outcome) and sound.holds and sound.cells == 16 and not fitting
    broken, fitting = outcome(lambda out: out * 1.0005)
    assert isinstance(broken, Outcome) and not broken.holds and broken.symbol == "out" and not fitting


def test_what_is_wrong_at_one_position_is_found_as_steps_go_on() -> None:
    model = nn.LayerNorm(96)

    def broken(_: nn.Module, __: Any, result: torch.Tensor) -> torch.Tensor:
        result[:, 17] *= 1.01
        return result

    model.register_forward_hook(broken)
    with tftrace.record(model) as trace:
        for _ in range(40):
            model(torch.randn(5, 96))
    verdicts = [row["verdict"] for row in trace.checks.to_pylist()]
    assert len(verdicts) == 40 and {"holds", "differs"} == set(verdicts)


def test_every_cell_is_checked_where_all_are_asked_for() -> None:
    model, x = nn.LayerNorm(96), torch.randn(5, 96)
    for check, cells in (("all", 480), (200, 384), (True, 16)):
        with tftrace.record(model, check=check) as trace:
            model(x)
        assert [(row["verdict"], row["cells"]) for row in trace.checks.to_pylist()] == [("holds", cells)], check


def test_the_equations_of_norms_are_among_them() -> None:
    equation = next(m.equation for m in library().of_module(nn.LayerNorm)[0])
    shapes = (("x", (2, 5, 96)), ("g", (96,)), ("b", (96,)), ("out", (2, 5, 96)))
    assert "D′" in fit(equation, shapes, (("e", 1e-5),)).plan.statements[0].independent
