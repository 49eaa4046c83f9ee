"""The formula language: operator precedence, the error for each mistake, and that no text can do harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace.recipes.evaluate import plan
from tftrace.recipes.format.library import library
from tftrace.recipes.formula import dims
from tftrace.recipes.formula.language import MAX_LENGTH, FormulaError, parse
from tftrace.recipes.formula.nodes import Lookup, Name, Number, Select, walk

offline = settings(derandomize=True, deadline=None, max_examples=300)


def only(source: str) -> object:
    ((symbol, node),) = parse(source).statements
    assert symbol == "out"
    return node


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c", "(a / b) * c"),
        ("a @ b / c", "(a @ b) / c"),
        ("a + b < c + d", "(a + b) < (c + d)"),
        ("-a ** b", "-(a ** b)"),
        ("a ** -b", "a ** (-b)"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("a * -b", "a * (-b)"),
        ("--a", "a"),
        ("a ** b[D=1]", "a ** (b[D=1])"),
    ],
)
def test_precedence(short: str, full: str) -> None:
    assert only(short) == only(full)


def test_numbers_names_lookups_and_positions() -> None:
    assert [only(n) for n in ("3", "0.5", ".5", "1e-5", "2.", ".5e1")] == [Number(v) for v in (3, 0.5, 0.5, 1e-5, 2, 5)]
    assert only("W[i]") == Lookup(Name("W"), Name("i"))
    assert only("x[T=-1]") == Select(Name("x"), "T", -1)


def test_statements_and_names() -> None:
    formula = parse("P = softmax(Q @ T(K), Tk); out = P @ V;x")
    assert [symbol for symbol, _ in formula.statements] == ["P", "out", "out"]
    assert formula.names == {"Q", "K", "Tk", "P", "V", "x"}
    assert formula.symbols == formula.names | {"out"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "The formula ends where it needs a name or a number."),
        ("x +", "The formula ends where it needs a name or a number."),
        ("x   $ y", "The formula has an unexpected '$' at column 5."),
        ("x y", "The formula needs an operator at column 3, not 'y'."),
        ("(x", "The formula ends where it needs ')'."),
        ("x + * y", "The formula needs a name or a number at column 5, not '*'."),
        ("1[i]", "Only a plain symbol can stand before '['."),
        ("x[T=1.5]", "The formula needs a whole number at column 5, not '1.5'."),
        ("x[T=1e3]", "The formula needs a whole number at column 5, not '1e3'."),
        ("x[T=y]", "The formula needs a whole number at column 5, not 'y'."),
        ("x[T=" + "9" * 50 + "]", "The formula needs a whole number at column 5"),
        ("eval(x)", "There is no function 'eval': there are T, abs"),
        ("max(x)", "max() takes 2 arguments."),
        ("softmax(x, A, B)", "softmax() takes 1 or 2 arguments."),
        ("softmax(x, 1)", "softmax() needs the name of a dimension there, not an expression."),
        ("pos(1)", "pos() needs the name of a dimension there, not an expression."),
        ("causal(x + 1, y)", "causal() needs the name of a dimension"),
        ("x" * (MAX_LENGTH + 1), "The formula is longer than 2000 characters: split it into symbols."),
        ("a = ", "The formula ends where it needs a name or a number."),
        ("x.__class__", "The formula has an unexpected '.' at column 2."),
        ("x = 'a'", "The formula has an unexpected"),
    ],
)
def test_mistakes_are_named(source: str, message: str) -> None:
    with pytest.raises(FormulaError) as error:
        parse(source)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "source",
    ["(" * 2000, "-" * 2000, "T(" * 1000, "x**" * 600 + "x", "x+" * 900 + "x", "x" + "*x" * 900, "W[" * 900,
     "2**-" * 500,
     "x" + "[T=0]" * 300, ";".join("a=a+a" for _ in range(300)), "a=x;" + "a=(a);" * 200 + "a", 
     "(" * 39 + "x" + ")" * 39,
     "".join(f"a{i}=a{i - 1}+1;" for i in range(1, 150)) + "out=a149"],
    ids=range(13),
)  # fmt: skip
def test_hostile_formulas_are_refused_or_harmless(source: str) -> None:
    try:
        parsed = parse(source)
    except FormulaError:
        return
    list(walk(parsed.statements[-1][1]))
    with pytest.raises(FormulaError):  # nothing in them is known
        plan.make_plan(parsed, {"out": dims.parse("A")}, (("out", (3,)),), ())


def test_long_chains_are_refused_by_a_sentence() -> None:
    for source in ("x+" * 900 + "x", ";".join(f"a{i} = a{i - 1} + 1" for i in range(1, 120))):
        with pytest.raises(FormulaError, match="nests more than 100 operations"):
            parse(source)
    assert parse("x+" * 90 + "x")


PIECES = st.sampled_from(
    ["x", "T(", "softmax(", ")", "[", "]", "=", ";", ",", "+", "-", "**", "@", "<=", "1", ".5", " ", "D"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=40).map("".join)))
@offline
def test_whatever_is_written_only_formula_errors_come_out(source: str) -> None:
    try:
        parsed = parse(source)
        plan.make_plan(parsed, {"x": dims.parse("D"), "out": dims.parse("D")}, (("x", (2,)), ("out", (2,))), ())
    except FormulaError:
        pass


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x + nowhere", "nowhere is not known here"),
        ("a = a + x; out = a", "a is not known here"),
        ("out = b; b = x", "b is not known here"),
        ("pos(x)", "x is no dimension"),
        ("D[x]", "D is no tensor whose rows can be looked up"),
        ("x[E=0]", "x has no dimension E"),
        ("x[D=2]", "x has no position 2 along D"),
        ("x[D=-3]", "x has no position -3 along D"),
        ("a = x", "its result was not seen at this level"),
        ("x + y", "y is a tensor and has no named dimensions"),
    ],
)
def test_a_plan_names_what_is_missing(formula: str, message: str) -> None:
    shapes = {"x": (2,), "out": (2,)} | ({"y": (2,)} if "y" in formula.split() else {})
    with pytest.raises(FormulaError, match=message):
        plan.make_plan(parse(formula), {"x": dims.parse("D"), "out": dims.parse("D")}, tuple(shapes.items()), ())


@pytest.mark.parametrize(
    ("formula", "moves"),
    [("T(x)", True), ("T(T(T(x)))", True), ("T(x * 2)", False), ("T(x) + T(x)", False), ("softmax(T(x))", False)],
)
def test_what_only_moves_numbers_is_known(formula: str, moves: bool) -> None:
    patterns = {"x": dims.parse("A D"), "out": dims.parse("D A")}
    made = plan.make_plan(parse(formula), patterns, (("x", (2, 3)), ("out", (3, 2))), ())
    assert made.statements[0].moves is moves


def test_independent_dimensions_are_those_a_cell_needs_one_position_of() -> None:
    equation = library().equations["linear"]
    shapes = (("x", (2, 3, 4)), ("A", (5, 4)), ("b", (5,)), ("out", (2, 3, 5)))
    made = plan.make_plan(equation.formula, equation.dims, shapes, ())
    assert made.statements[0].independent == ("*0", "*1", "O")
    assert made.sizes["I"] == 4 and made.statements[0].products
