"""The rounding bound of our equations: sound runs stay within it, small mistakes do not."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from tftrace.recipes.evaluate import plan
from tftrace.recipes.evaluate.value import Value, broadcast_to_dims
from tftrace.recipes.format.library import library
from tftrace.recipes.formula import dims
from tftrace.recipes.formula.analysis import named_dims
from tftrace.recipes.formula.functions import argument_kinds
from tftrace.recipes.formula.language import Formula, parse
from tftrace.recipes.formula.nodes import Apply, Lookup, Name, walk

from ..support.formulas_in_torch import DTYPES, Known, Named, Run, evaluated

EQUATIONS = [(e, formula, patterns) for e in library().equations.values() for formula, patterns in
             ((e.formula, e.dims), *((v.formula, v.dims) for v in e.variants))]  # fmt: skip
# Sizes that belong together, where an index is computed from positions.
SIZES = {"phi3-multi-head": {"Hq": 2, "H": 2, "D": 4, "Z": 24},
         "mamba-mixer": {"R": 3, "N": 4, "X": 11}, "phi3-ffn": {"F": 8, "Z": 16}, "same-pad": {"T": 5, "U": 6},
         "vit-embedding": {"N": 4, "T": 5}, "top-k-router": {"E": 8, "K": 2},
         "experts": {"K": 2, "F": 4, "X": 4, "N": 3, "O": 3}, "experts-gpt-oss": {"K": 2, "F": 8},
         "rotary-position-part-halves": {"R": 4, "D": 8}}  # fmt: skip
NUMBERS = {"e": 1e-5, "c": 1.0, "s": 0.3}


def case(
    formula: Formula,
    patterns: dict[str, dims.Pattern],
    draw: Random,
    dtype: torch.dtype,
    scale: float = 1.0,
    given: dict[str, int] | None = None,
) -> tuple[plan.Plan, Known]:
    """A plan of a formula for random tensors of random sizes, and the tensors."""
    fixed = {name: size for p in patterns.values() for name, size in p.fixed}
    sizes = dict(given or {})
    shapes = {}
    tables = {n.table.id for _, body in formula.statements for n in walk(body) if isinstance(n, Lookup)}
    seen = {name for _, body in formula.statements for n in walk(body) if isinstance(n, Apply)
            and n.function in ("window", "unwindow") for name in named_dims(n)}  # fmt: skip
    for symbol in sorted(formula.symbols & set(patterns)):
        shape: list[int] = []
        for axis in patterns[symbol].axes:
            if dims.STAR in axis.names:
                shape += [2, 3]
            elif axis.optional and symbol in tables:  # what is looked up has its rows in front
                shape.append(1)
            else:
                for n in axis.names:
                    few = n in ("B", "H", "G", "T", "Tq") or n in seen
                    alone = all(a.optional for p in patterns.values() for a in p.axes if n in a.names)
                    sizes.setdefault(n, 1 if alone else fixed.get(n) or draw.choice((2, 3) if few else (8, 32)))
                shape.append(prod(sizes[n] for n in axis.names))
        shapes[symbol] = tuple(shape)
    lookups = [n for _, body in formula.statements for n in walk(body) if isinstance(n, Lookup)]
    rows = {n.index.id: shapes[n.table.id][0] for n in lookups if isinstance(n.index, Name)}
    shorts = dict(formula.statements)
    gathers = [n for _, body in formula.statements for n in walk(body)
               if isinstance(n, Apply) and n.function == "gather"]  # fmt: skip
    for index in [n.index for n in lookups] + [
        n.arguments[2] for n in gathers
    ]:  # what it is computed from is whole, too
        of = [m.id for m in walk(index) if isinstance(m, Name)]
        of += [m.id for short in of if short in shorts for m in walk(shorts[short]) if isinstance(m, Name)]
        rows |= {name: 4 for name in of if name in shapes and name not in rows}
    for _, dim, index in (n.arguments for n in gathers):
        if isinstance(dim, Name) and isinstance(index, Name):
            rows[index.id] = sizes[dim.id]
    masks = {
        n.arguments[0].id for _, body in formula.statements for n in walk(body)
        if isinstance(n, Apply) and n.function in ("mask", "hide") and isinstance(n.arguments[0], Name)
    }  # fmt: skip
    known = {name: value for name, value in NUMBERS.items() if name in formula.names and name not in shapes}
    known |= dict.fromkeys(_of_kind(formula, "n") - set(shapes), 1.0) | dict.fromkeys(seen - set(sizes), 2.0)
    others = formula.names - set(shapes) - set(known) - {n for p in patterns.values() for a in p.axes for n in a.names}
    known |= dict.fromkeys(seen - set(sizes) - {"*0"}, 2.0)
    words = dict.fromkeys(_of_kind(formula, "w"), "silu")
    numbers: dict[str, float | str] = {**known}
    numbers |= dict.fromkeys(others - {symbol for symbol, _ in formula.statements}, 0.7)
    # A size that only a number tells, such as H in (H D), is what was drawn.
    numbers |= {name: float(size) for name, size in sizes.items()}
    numbers |= words
    made = plan.make_plan(formula, patterns, tuple(shapes.items()), tuple(numbers.items()))
    seed = torch.Generator().manual_seed(draw.randrange(2**31))
    tensors = {}
    for symbol, layout in made.layouts.items():
        whole = shapes[symbol]
        t = (torch.randn(whole, generator=seed, dtype=torch.float64) * scale).to(dtype)
        if symbol in rows:
            t = torch.randint(0, rows[symbol], whole, generator=seed)
        elif symbol in masks:
            t = torch.randint(0, 3, whole, generator=seed) > 0
            t[..., 0] = "hide(" not in formula.source
        tensors[symbol] = Named(layout.names, t.reshape([made.sizes[n] for n in layout.names]))
    return made, Known(tensors, dict(made.sizes), {n: v for n, v in numbers.items() if isinstance(v, float)})


def _of_kind(formula: Formula, wanted: str) -> set[str]:
    """Names that stand where functions take a number, or a word."""
    calls = [n for _, body in formula.statements for n in walk(body) if isinstance(n, Apply)]
    each = ((argument_kinds(call.function, len(call.arguments)) or "", call.arguments) for call in calls)
    return {a.id for found, given in each for kind, a in zip(found, given, strict=True)
            if kind == wanted and isinstance(a, Name)}  # fmt: skip


def run(made: plan.Plan, known: Known, dtype: torch.dtype) -> None:
    """Do what the equation says in one dtype; what a statement names becomes what the run has there."""
    for statement in made.statements:
        names = known.tensors[statement.symbol].dims
        shape = known.tensors[statement.symbol].t.shape
        found = Run(known, dtype).node(statement.body)
        known.tensors[statement.symbol] = Named(names, Run.spread(found, names).t.expand(shape))


def excess(made: plan.Plan, known: Known, dtype: torch.dtype) -> float:
    """The largest |run - exact| / bound of all cells of all statements."""
    worst = 0.0
    for statement in made.statements:
        names, t = known.tensors[statement.symbol]
        exact = broadcast_to_dims(evaluated(statement.body, known, dtype), names, tuple(t.shape))
        found = t.to(torch.float64).numpy()
        with np.errstate(all="ignore"):
            over = np.isinf(found) & (np.abs(exact.v) + exact.e >= torch.finfo(dtype).max)  # which no dtype can hold
            residual = np.where((found == exact.v) | np.isnan(exact.v) | over, 0.0, np.abs(found - exact.v))
            worst = max(worst, float(np.max(np.where(residual == 0, 0.0, residual / exact.e), initial=0.0)))
    return worst


QUICK = (torch.float32,)
SOME = [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in DTYPES]


@pytest.mark.parametrize("dtype", SOME, ids=str)
def test_sound_runs_of_every_equation_stay_within(dtype: torch.dtype) -> None:
    for number, (equation, formula, patterns) in enumerate(EQUATIONS):
        for scale in (1e-2, 1.0, 3.0):
            made, known = case(formula, dict(patterns), Random(number), dtype, scale, SIZES.get(equation.id))
            run(made, known, dtype)
            assert excess(made, known, dtype) <= 1.0, f"{equation.id}: {formula.source} ({dtype}, {scale})"


def broken(name: str, wrong: str | None, dtype: torch.dtype, **scales: float) -> float:
    """How far beyond the bound of an equation a run is that computes another formula."""
    found = library().equations[name]
    made, known = case(found.formula, dict(found.dims), Same(1), dtype)
    for symbol, scale in scales.items():
        names, t = known.tensors[symbol]
        known.tensors[symbol] = Named(names, t * scale)
    known.numbers["c"] = 0.0
    statements = made.statements
    if wrong is not None:
        bodies = dict(parse(wrong).statements)
        statements = tuple(replace(s, body=bodies.get(s.symbol, s.body)) for s in statements)
    run(replace(made, statements=statements), known, dtype)
    return excess(made, known, dtype)


class Same(Random):
    """Draws the largest size for every dimension."""

    def choice(self, sizes: Any) -> Any:
        return sizes[-1]


MISTAKES = {
    "a hundredth of the bias lost": ("linear", "x @ T(A) + b * 0.99", {"A": 0.05}),
    "a small bias lost": ("linear", "x @ T(A)", {"A": 0.125, "b": 0.03}),
    "scores not scaled": ("attention", "P = softmax(Q @ T(K) + mask(M)); out = P @ V", {}),
    "mask ignored": ("attention", "P = softmax(Q @ T(K) / sqrt(D)); out = P @ V", {}),
    "variance a fifth too large": ("layer-norm", "(x - mean(x, D)) / sqrt(var(x, D) * 1.2 + e) * g + b", {}),
    "epsilon lost on small inputs": ("layer-norm", "(x - mean(x, D)) / sqrt(var(x, D)) * g + b", {"x": 0.01}),
    "tanh for erf": ("gelu", "0.5 * x * (1 + tanh(x))", {}),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_beyond_the_bound(mistake: str, dtype: torch.dtype) -> None:
    name, wrong, scales = MISTAKES[mistake]
    # GIVEN the right formula on these very tensors, which is within the bound
    assert broken(name, None, dtype, **scales) <= 1.0
    # WHEN the run makes the mistake THEN some cell is beyond what rounding explains
    assert broken(name, wrong, dtype, **scales) > 1.0


def test_an_unsound_bound_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a bound that forgets the products of a matrix and what a library's functions are off by
    from tftrace.recipes.evaluate import evaluator

    def exactly(self: Any, dims: tuple[str, ...], v: Any, e: Any, *rest: Any, **more: Any) -> Value:
        return Value(dims, v, np.broadcast_to(e, np.shape(v)))

    monkeypatch.setattr(evaluator.Evaluator, "_round", exactly)
    with pytest.raises(AssertionError):
        test_sound_runs_of_every_equation_stay_within(torch.float32)
