"""Where symbols stand in a drawn equation."""

from __future__ import annotations

import pytest

from tftrace.recipes.format.library import library
from tftrace.recipes.format.recipe import Equation
from tftrace.recipes.typeset import mathtext, symbol_places
from tftrace.recipes.typeset.tex_names import spans

ATTENTION = r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V"


def found(tex: str, symbols: str, **written: str) -> list[tuple[str, str]]:
    """What is coloured: the text and the symbol."""
    rows, spans = symbol_places.drawn(tex, 80, symbol_places.spelled(symbols.split(), tex, written))
    assert rows == mathtext.render(tex, 80)
    return [(row[a:b], symbol) for row, marks in zip(rows, spans, strict=True) for a, b, symbol in marks]


def test_letters_are_found_in_words_brackets_and_fractions_but_not_in_names_or_scripts() -> None:
    seen = found(ATTENTION, "Q K V d out")
    assert sorted(seen) == [("K", "K"), ("K", "K"), ("Q", "Q"), ("Q", "Q"), ("V", "V"), ("V", "V")]


@pytest.mark.parametrize(
    ("tex", "symbols", "written", "seen"),
    [
        (r"y=xA^T+b", "x A b out", {}, [("y", "out"), ("x", "x"), ("A", "A"), ("b", "b")]),
        (r"h_0=UW_e+W_p", "We Wp out", {}, [("h₀", "out"), ("Wₑ", "We"), ("Wₚ", "Wp")]),
        (r"a\cdot\gamma+\beta", "g b", {"g": r"\gamma", "b": r"\beta"}, [("γ", "g"), ("β", "b")]),
        (r"E_{token}+E_{mask}", "w", {"w": "E_{token}"}, [("Eₜₒₖₑₙ", "w")]),
        (r"y_t=W_{i}", "W x out", {}, [("yₜ", "out")]),
        (r"y_t=W_{i_t}", "W i out", {}, [("y", "out")]),  # the subscript stands on the row below
        (r"\mathrm{Sub}(x)", "f x", {"f": r"\mathrm{Sub}"}, [("S", "f"), ("u", "f"), ("b", "f"), ("x", "x")]),
        (r"\notacommand{x", "x", {}, [("x", "x")]),  # cannot be drawn: the TeX itself
        (r"y=x", "x", {"x": "\x1b["}, []),
    ],
)
def test_how_papers_write_symbols(tex: str, symbols: str, written: dict[str, str], seen: list[tuple[str, str]]) -> None:
    assert found(tex, symbols, **written) == seen


@pytest.mark.parametrize("equation", library().equations.values(), ids=lambda e: e.id)
def test_every_sign_of_a_recipe_is_in_its_tex(equation: Equation) -> None:
    data = equation.data
    for symbol, sign in data.get("signs", {}).items():
        assert spans(data["tex"], sign), f"{symbol} is said to be written {sign}"
        sizes = {name for pattern in equation.dims.values() for axis in pattern.axes for name in axis.names}
        bound = {name for bind in equation.binds for name in bind.symbols}
        assert symbol in equation.formula.symbols | sizes | bound
