"""The evaluator: its numbers against torch, and its bound against what rounding really does in each dtype."""

from __future__ import annotations

import re
import tracemalloc
from collections import Counter
from random import Random

import numpy as np
import pytest
import torch

from tftrace.recipes.evaluate import plan
from tftrace.recipes.evaluate.evaluator import Evaluator
from tftrace.recipes.evaluate.terms import Terms
from tftrace.recipes.evaluate.value import Value, broadcast_to_dims
from tftrace.recipes.formula import dims
from tftrace.recipes.formula.analysis import infer_dims
from tftrace.recipes.formula.language import FormulaError, parse
from tftrace.recipes.formula.nodes import Name, Node, inline, walk

from ..support.formulas_in_torch import DTYPES, REDUCTIONS, Known, Named, Run, evaluated


def compare(node: Node, known: Known, dtype: torch.dtype) -> tuple[Value, np.ndarray, bool]:
    """The evaluator's value, torch's in its order of dimensions, and whether the run overflowed on the way."""
    exact = evaluated(node, known, dtype)
    run, wide = Run(known, dtype), Run(known, torch.float64)
    found, reference = run.node(node), wide.node(node)
    overflow = any(bool((a != b).any()) for a, b in zip(run.finite, wide.finite, strict=True))
    order = [found.dims.index(d) for d in exact.dims]
    same = Run.spread(reference, reference.dims).t.permute(order).to(torch.float64).numpy()
    own = evaluated(node, known, torch.float64)
    with np.errstate(all="ignore"):
        right = (exact.v == same) | np.isnan(same) | (np.abs(exact.v - same) <= own.e + 1e-300)
    assert right.all(), "the value itself is wrong"
    return exact, found.t.permute(order).to(torch.float64).numpy(), overflow


def outside(exact: Value, found: np.ndarray, dtype: torch.dtype) -> bool:
    """Whether a run's numbers lie outside of the bound; where exact and run are both NaN nothing is said."""
    with np.errstate(all="ignore"):
        residual = np.abs(found - exact.v)
        fits = (found == exact.v) | (np.isnan(found) & np.isnan(exact.v)) | (residual <= exact.e + 1e-300)
        return not (fits | np.isinf(exact.e)).all()


# -- values -----------------------------------------------------------------------------------------


def example(dtype: torch.dtype = torch.float64, seed: int = 0) -> Known:
    draw = torch.Generator().manual_seed(seed)

    def normal(names: str, scale: float = 1.0, shift: float = 0.0) -> Named:
        shape = [sizes[n] for n in names.split()]
        return Named(tuple(names.split()), (torch.randn(shape, generator=draw) * scale + shift).to(dtype))

    sizes = {"A": 2, "B": 3, "C": 4, "D": 5, "V": 7, "E": 4, "F": 12, "V9": 9, "E8": 8, "C7": 7, "K": 3, "O2": 2}
    sizes["t"] = 6
    tensors = {
        "x": normal("A B C"), "y": normal("C A"), "z": normal("B"), "s": normal(""), "w": normal("D C"),
        "u": normal("K"), "t": normal("C t"),
        "j": Named(("A", "B", "C"), torch.randint(0, 5, (2, 3, 4), generator=draw)),
        "l": Named(("V", "E"), torch.randint(0, 5, (7, 4), generator=draw)),
        "q": normal("A B D"), "k": normal("A C D"), "v": normal("A C B"), "W": normal("V D"),
        "i": Named(("A", "B"), torch.randint(0, 7, (2, 3), generator=draw)),
        "m": Named(("B", "C"), torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]]).bool()),
    }  # fmt: skip
    return Known(tensors, sizes, {"n": 0.3})


@pytest.mark.parametrize(
    "formula",
    [
        "x + y", "y + x", "z * x", "x - s", "x / (y + 3)", "abs(x) ** 1.5", "x ** 3", "-x ** 2", "2 ** x", "x < y",
        "x >= z", "x == x", "max(x, z)", "min(y, 0)", "where(x < y, x, 2 * z)", "sqrt(abs(x))", "exp(x)",
        "log(abs(x))", "tanh(x)", "erf(x)", "sin(x)", "cos(x)", "sigmoid(x)", "abs(x)", "T(x)", "T(x) + y", "sum(x)",
        "sum(x, A)", "mean(x, B)", "var(x)", "var(x, B)", "softmax(x)", "softmax(x, B)", "softmax(x + mask(m))",
        "softmax(x + hide(m))",
        "softmax(x + causal(B, C))", "q @ T(k)", "x @ T(w)",
        "softmax(q @ T(k) / sqrt(D) + mask(m) + causal(B, C)) @ v", "W[i]", "W[i] + q", "x[B=1]", "x[B=-1] * y",
        "pos(B) * x", "sin(pos(B) / 10 ** (pos(D) / D))", "n * x + D", "(x - mean(x)) / sqrt(var(x) + 0.001)",
        "m * x", "x - m", "m + m", "-m", "sum(m)", "softmax(m)", "exp(m)", "sqrt(m)", "where(m, x, y)",
        "causal(B, D)", "causal(D, B)",
        "log1p(abs(x))", "floor(x * 3)", "amax(x)", "amin(x, A, C)", "sum(x, A, C)", "mean(x, C, B)", "var(x, A, B)",
        "dot(x, w, C)", "dot(x, y, A, C)", "relu(x) + relu2(x)", "silu(x)", "gelu(x)", "gelu_tanh(x)", "gelu_quick(x)",
        "softplus(30 * x)", "mish(x)", "cumsum(x, B)", "scan(sigmoid(x), z, B)", "topk(x, C, K)", "gather(q, D, j)",
        "gather(x, C, C - 1 - pos(C))",
        "gather(sigmoid(W), D, l)", "concat(x, sin(w), E8)", "concat(q * z, 2 * x, V9)", "split_heads(t, A, B)",
        "join_heads(T(x), C, B, F)", "rotate_half(x)", "rotate_pairs(x)", "roll(x, B, 1)", "roll(x, C, -3)",
        "shift(x, B, 1)", "shift(x, C, 0 - A)", "rename(y, C, E)", "q @ T(rename(W, V, C7))",
        "window(x, C, C, K, 1, 1, 1)", "window(x, C, O2, K, 2, 1, 1)", "window(x, C, C, K, 1, K - 1, 2)",
        "dot(window(x, C, O2, K, 2, 1, 1), u, K)",
        "unwindow(x, C, O2, K, 2, 1, 1)", "unwindow(x, C, O2, K, 1, 0, 2)", "dot(unwindow(x, C, O2, K, 2, 0, 1), u, K)",
    ],
)  # fmt: skip
def test_values_are_torchs(formula: str) -> None:
    ((_, node),) = parse(formula).statements
    known = example()
    if re.search(r"\bm\b", re.sub(r"(mask|hide)\(m\)", "", formula)) and "where" not in formula:
        # torch does arithmetic on booleans as on 0 and 1 once they are numbers
        known.tensors["m"] = known.tensors["m"]._replace(t=known.tensors["m"].t.to(torch.float64))
        exact = evaluated(node, example(), torch.float64)
        assert np.array_equal(exact.v, evaluated(node, known, torch.float64).v)
        assert exact.v.dtype == np.float64
    exact, found, _ = compare(node, known, torch.float64)
    np.testing.assert_allclose(exact.v, found, rtol=1e-12, atol=1e-14)


def test_a_cell_has_the_terms_of_the_sum_inside_of_its_factors() -> None:
    known = example()
    ((_, node),) = parse("x / (y + 3)").statements
    terms, cell = Terms(Evaluator(known, 2.0**-24, 2.0**-24), {}), {"A": 1, "B": 2, "C": 3}
    assert len(terms.of(node, cell)) == 1
    ((_, node),) = parse("z * (s * (q @ T(k)))").statements
    found = terms.of(node, cell)
    assert len(found) == 5 and sum(one.value for one in found) == pytest.approx(terms.value(node, cell))
    # of a dimension of one there is one cell, but of no larger one
    known.tensors["z"] = Named(("B",), known.tensors["z"].t[:1])
    assert terms.value(parse("z + s").statements[0][1], {}) == float(known.tensors["z"].t + known.tensors["s"].t)
    with pytest.raises(FormulaError, match="of every A at once"):
        terms.value(parse("y + s").statements[0][1], {"C": 0})


def test_the_order_of_dimensions_can_be_asked_for() -> None:
    ((_, node),) = parse("y").statements
    known = example()
    found = broadcast_to_dims(evaluated(node, known, torch.float64), ("A", "B", "C"), (2, 3, 4))
    assert np.array_equal(found.v, known.tensors["y"].t.T[:, None, :].expand(2, 3, 4).numpy())
    with pytest.raises(FormulaError, match="leaves the dimension 'C'"):
        broadcast_to_dims(evaluated(node, known, torch.float64), ("A",), (2,))


def test_a_comparison_that_rounding_may_decide_is_uncertain_and_no_other() -> None:
    known = example()
    known.tensors["z"] = Named(("B",), torch.tensor([1 / 3, 0.5, -2.0]))
    ((_, node),) = parse("z * 3 > 1.0").statements
    found = evaluated(node, known, torch.float32)
    assert found.e.tolist() == [1.0, 0.0, 0.0] and found.v[1:].tolist() == [True, False]


@pytest.mark.parametrize(("power", "least"), [("1", 1e-8), ("2", 1e-16), ("3", 1e-24)])
def test_a_whole_power_of_what_may_be_of_either_sign_is_bounded(power: str, least: float) -> None:
    known = example()
    known.tensors["z"] = Named(("B",), torch.tensor([1 / 3] * 3, dtype=torch.float64))
    ((_, node),) = parse(f"(z * 3 - 1.0) ** {power}").statements
    found = evaluated(node, known, torch.float32)
    assert (found.e > least).all() and (found.e < 1e-5 ** int(power)).all()
    ((_, node),) = parse("(z * 3 - 1.0) ** -1").statements
    assert np.isinf(evaluated(node, known, torch.float32).e).all()


@pytest.mark.parametrize(
    "formula",
    [
        *("sqrt(a)", "exp(a)", "log(a)", "log1p(a)", "tanh(a)", "erf(a)", "sigmoid(a)", "sin(a)", "cos(a)", "abs(a)"),
        *("1 / a", "a ** 2", "a ** -1.5", "2 ** a", "a * a", "max(a, 0.01)", "floor(a * 100)"),
    ],
)
def test_an_error_that_came_in_is_carried_along_the_slope(formula: str) -> None:
    # GIVEN small numbers with a large error, as they have after numbers of another size were added and taken away
    known = example()
    known.tensors["z"] = Named(("B",), torch.tensor([0.002, 0.5, 3.0], dtype=torch.float64))
    made = "z + 4000.0 - 4000.0"
    inner, outer = (
        evaluated(parse(text).statements[0][1], known, torch.float32)
        for text in (made, re.sub(r"\ba\b", f"({made})", formula))
    )
    for moved in (inner.v - inner.e, inner.v + inner.e):
        known.tensors["z"] = Named(("B",), torch.from_numpy(moved))
        there = evaluated(parse(re.sub(r"\ba\b", "z", formula)).statements[0][1], known, torch.float64)
        assert (np.abs(there.v - outer.v) <= outer.e * (1 + 1e-9)).all()
    assert np.isfinite(outer.e).all()


def test_a_later_key_is_hidden_from_the_last_queries() -> None:
    ((_, node),) = parse("causal(B, D)").statements
    found = evaluated(node, example(), torch.float64).v
    assert np.isneginf(found).tolist() == [[False] * 3 + [True] * 2, [False] * 4 + [True], [False] * 5]


def test_a_fully_masked_row_is_nan_and_never_told() -> None:
    known = example()
    known.tensors["m"].t[1] = False
    ((_, node),) = parse("softmax(x + mask(m))").statements
    found = evaluated(node, known, torch.float32)
    assert np.isnan(found.v[:, 1]).all() and np.isfinite(found.v[:, 0]).all()


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x @ q", "'@' needs the last dimension of .A B C. as the last but one of .A B D."),
        ("x @ s", "'@' needs"),
        ("s @ x", "'@' needs"),
        ("T(z)", "T.. needs two dimensions, not .B."),
        ("sum(s)", "sum.. cannot run over 'a scalar'"),
        ("softmax(x, D)", "softmax.. cannot run over 'D': there is .A B C."),
        ("W[q]", "rows of W cannot be looked up by .A B D."),
    ],
)
def test_dimensions_that_do_not_fit(formula: str, message: str) -> None:
    ((_, node),) = parse(formula).statements
    known = example()
    with pytest.raises(FormulaError, match=message):
        infer_dims(node, {n: t.dims for n, t in known.tensors.items()})
        evaluated(node, known, torch.float64)


def test_a_formula_cannot_fill_the_memory() -> None:
    # GIVEN a formula whose intermediate results have every dimension at once
    many = Known({}, dict.fromkeys(("A", "B", "C", "D"), 3000))
    ((_, node),) = parse("sum(sum(pos(A) * pos(B) * pos(C), A), B)").statements
    with pytest.raises(FormulaError, match="more than 16777216 cells"):
        evaluated(node, many, torch.float64)
    ((_, node),) = parse("(pos(A) * pos(B)) @ (pos(B) * pos(C)) * pos(D)").statements
    with pytest.raises(FormulaError):
        evaluated(node, many, torch.float64)
    # AND through functions that repeat, join, pick or run along dimensions
    many.sizes |= {"E": 6000, "L": 100_000, "K": 2}
    for text in (
        "concat(pos(A) * pos(B), pos(A) * pos(C), E)",
        "concat(pos(A) * pos(B) * pos(C), pos(D), E)",
        "gather(pos(A) * pos(B), B, pos(C) * pos(D))",
        "dot(pos(A) * pos(B), pos(C) * pos(D), B, D)",
        "dot(pos(A), pos(B) * pos(C) * pos(D), B)",
        "scan(pos(L), pos(L), L)",
        "topk(pos(K), K, A)",
        "roll(pos(A), A, 1e300)",
        "split_heads(pos(A), B, C)",
    ):
        ((_, node),) = parse(text).statements
        tracemalloc.start()
        try:
            with pytest.raises(FormulaError):
                evaluated(node, many, torch.float64)
            assert tracemalloc.get_traced_memory()[1] < 1 << 30, text
        finally:
            tracemalloc.stop()


def test_abbreviations_of_abbreviations_take_no_time() -> None:
    # GIVEN 90 symbols, each the sum of the one before with itself: 2 ** 90 additions, were they done one by one
    text = "a0 = x + x; " + "".join(f"a{i} = a{i - 1} + a{i - 1}; " for i in range(1, 90)) + "out = a89"
    formula = parse(text)
    patterns = {"x": dims.parse("A"), "out": dims.parse("A")}
    made = plan.make_plan(formula, patterns, (("x", (3,)), ("out", (3,))), ())
    known = Known({"x": Named(("A",), torch.ones(3))}, {"A": 3})
    assert evaluated(made.statements[0].body, known, torch.float64).v.tolist() == [2.0**90] * 3


def test_inline_puts_abbreviations_in_place() -> None:
    statements = parse("a = x + 1; b = -a * W[a]; out = sum(b, A)").statements
    lets: dict[str, Node] = {}
    for symbol, body in statements:
        lets[symbol] = inline(body, lets)
    ((_, whole),) = parse("sum(-(x + 1) * W[x + 1], A)").statements
    assert lets["out"] == whole


# -- the bound --------------------------------------------------------------------------------------


class Expressions:
    """Random expressions that fit the dimensions of `example`."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)

    def any(self, depth: int) -> tuple[str, set[str]]:
        pick = self.draw.random
        if depth == 0 or pick() < 0.1:
            return self.leaf()
        kind = self.draw.choice(("binary", "binary", "unary", "reduce", "matmul", "where", "norm"))
        if kind == "binary":
            (a, p), (b, q) = self.any(depth - 1), self.any(depth - 1)
            operator = self.draw.choice(("+", "-", "*", "/"))
            shape = self.draw.choice((f"({a} {operator} {b})", f"max({a}, {b})", f"min({a}, {b})"))
            return (f"({a} {operator} {b})" if pick() < 0.8 else shape), p | q
        if kind == "unary":
            a, p = self.any(depth - 1)
            form = self.draw.choice(
                ("exp({})", "log1p(abs({}))", "silu({})", "gelu({})", "softplus({})", "relu2({})", "floor({})",
                 "tanh({})", "erf({})", "sigmoid({})", "sin({})", "cos({})", "abs({})", "-{}", "({}) ** 2",
                 "({}) ** 3", "sqrt(abs({}))", "log(abs({}) + 0.1)", "abs({}) ** 0.7", "2 ** tanh({})", "sqrt({})",
                 "log({})", "({}) ** -1", "1.1 ** ({})")
            )  # fmt: skip
            return form.format(a), p
        if kind == "reduce":
            a, p = self.any(depth - 1)
            if not p:
                return a, p
            dim = self.draw.choice(sorted(p))
            function = self.draw.choice(REDUCTIONS)
            if function == "softmax":
                extra = self.draw.choice(("", " + mask(m)", " + causal(B, C)", " * 5"))
                return f"softmax({a}{extra}, {dim})", p | ({"B", "C"} if "m" in extra or "causal" in extra else set())
            return f"{function}({a}, {dim})", p - {dim}
        if kind == "matmul":
            f, g = (self.draw.choice(("{}", "tanh({})", "3 * {}", "exp({})")) for _ in "ab")
            return f"({f.format('q')} @ T({g.format('k')}))", {"A", "B", "C"}
        if kind == "where":
            (a, p), (b, q), (c, r) = (self.any(depth - 1) for _ in "abc")
            return f"where({a} < {b}, {b}, {c})", p | q | r
        a, p = self.any(depth - 1)
        if not p:
            return a, p
        dim = self.draw.choice(sorted(p))
        return f"(({a} - mean({a}, {dim})) / sqrt(var({a}, {dim}) + 0.001))", p

    def leaf(self) -> tuple[str, set[str]]:
        known = (("x", "A B C"), ("y", "C A"), ("z", "B"), ("s", ""), ("q", "A B D"), ("k", "A C D"), ("pos(C)", "C"))
        numbers = (("0.1", ""), ("3", ""), ("D", ""), ("n", ""))
        name, names = self.draw.choice(known if self.draw.random() < 0.8 else numbers)
        return name, set(names.split())


def inputs(draw: Random, dtype: torch.dtype, seed: int) -> Known:
    """The example's tensors, of any size, some far from zero, some all alike."""
    known = example(dtype, seed)
    for name, (names, t) in known.tensors.items():
        if t.is_floating_point():
            scale, shift = draw.choice((1e-3, 0.1, 1.0, 1.0, 30.0)), draw.choice((0.0, 0.0, 0.0, 1.0, 100.0))
            wide = t.to(torch.float64) * scale + shift
            known.tensors[name] = Named(names, wide.to(dtype))
    return known


def sweep(cases: int, start: int = 0) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in range(start, start + cases):
        draw, dtype = Random(seed), DTYPES[seed % len(DTYPES)]
        text, _ = Expressions(seed).any(draw.choice((1, 2, 3)))
        ((_, node),) = parse(text).statements
        if "pos" not in text and not any(isinstance(n, Name) for n in walk(node)):
            continue
        known = inputs(draw, dtype, seed)
        exact, found, overflow = compare(node, known, dtype)
        if overflow:  # that is not rounding
            counts["overflow"] += 1
            continue
        counts["compared"] += 1
        counts["told"] += bool((exact.e < np.abs(exact.v)).any())
        assert not outside(exact, found, dtype), f"seed {seed}, {dtype}: {text}"
    return counts


def test_rounding_stays_within_the_bound() -> None:
    counts = sweep(2400)
    assert counts["compared"] > 2000
    assert counts["told"] > 1200  # and it says something


def test_a_whole_number_of_the_run_is_rounded_like_any_other() -> None:
    # GIVEN a tensor without dimensions that happens to hold 59, and a size of 5: bfloat16 has 296 for 295
    known = Known({"s": Named((), torch.tensor(59.0, dtype=torch.bfloat16))}, {"D": 5})
    ((_, node),) = parse("D * s").statements
    found = evaluated(node, known, torch.bfloat16)
    assert found.v == 295 and 1 <= found.e < 4
    # while sizes among each other are exact
    ((_, sizes),) = parse("D * 59").statements
    assert evaluated(sizes, known, torch.bfloat16).e == 0


@pytest.mark.slow
def test_rounding_stays_within_the_bound_for_long() -> None:
    sweep(40_000, start=10_000)
