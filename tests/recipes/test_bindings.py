"""The dimensions of an equation on a step, and the tensors behind its symbols, found from the trace alone."""

from __future__ import annotations

from typing import Any

import pytest

import tftrace
from tftrace.recipes.evaluate.bindings import bindings_of

pytestmark = pytest.mark.usefixtures("no_grad")


def on(trace: tftrace.Trace, equation: str) -> tuple[dict[str, int], dict[str, tuple[str, tuple[int, ...]]]]:
    row = next(r for r in trace.checks.to_pylist() if r["equation"] == equation)
    found = bindings_of(trace, row["step"], equation)
    return found.dims, {symbol: (t.name, t.shape) for symbol, t in found.tensors.items()}


def test_dimensions_and_symbols_of_every_kind_of_source(family: Any) -> None:
    model, inputs = family("bert")
    with tftrace.record(model) as trace:
        model(**inputs)
    dims, symbols = on(trace, "attention")
    assert dims == {"B": 2, "H": 4, "Tq": 8, "D": 8, "Tk": 8, "Dv": 8}
    assert list(dims) == ["B", "H", "Tq", "D", "Tk", "Dv"]  # in the order of the recipe; G is 1 and is not told
    assert symbols["Q"] == ("query", (2, 4, 8, 8)) and symbols["out"] == ("[0]", (2, 8, 4, 8))

    dims, symbols = on(trace, "linear")
    assert dims == {"I": 32, "O": 32} and symbols["b"] == ("bias", (32,))  # the axes of * are not told

    dims, symbols = on(trace, "bert-residual")  # a child's result, and a parameter of a child
    assert dims == {"B": 2, "T": 8, "E": 32}
    assert symbols["f"] == ("", (2, 8, 32)) and symbols["g"] == ("weight", (32,))

    dims, symbols = on(trace, "bert-ffn")  # a function's argument, and what lies two levels below its module
    assert dims["F"] == 64 and symbols["x"][0] == "attention_output" and symbols["out"] == ("", (2, 8, 32))


def test_a_variant_that_reads_the_shapes_otherwise_still_tells_them(family: Any) -> None:
    model, inputs = family("marian")
    with tftrace.record(model) as trace:
        model(**inputs)
    assert on(trace, "transformer-positions")[0] == {"T": 8, "I": 16, "S": 2}


def test_a_recipe_in_a_forged_trace_is_only_shown(family: Any) -> None:
    model, inputs = family("bert")
    with tftrace.record(model, level="modules", check=True) as trace:
        model(**inputs)
    step = next(r["step"] for r in trace.checks.to_pylist() if r["equation"] == "linear")
    forged: dict[str, Any]
    for forged in ({"formula": "(" * 5000}, {"bind": "x"}, {"bind": [[]]}, {"dims": {"x": "(" * 900}}, {"cite": None}):
        trace.meta["equations"]["linear"] = dict(trace.meta["equations"]["linear"]) | forged
        assert bindings_of(trace, step, "linear").dims == {}
    assert bindings_of(trace, step, "no such equation").tensors == {}
