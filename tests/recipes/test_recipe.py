"""The recipe format: our recipes are valid, mistakes are named, and a step finds the equations that describe it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tftrace.recipes.format.evidence import STATED
from tftrace.recipes.format.library import Library, folder, library, read
from tftrace.recipes.format.recipe import RecipeError, parse
from tftrace.recipes.typeset import mathtext

ENTRY: dict[str, Any] = {
    "id": "linear",
    "cite": "a paper, Eq. (1)",
    "tex": "y=xA",
    "formula": "x @ T(A) + b",
    "dims": {"x": "* I", "A": "O I", "b": "O", "out": "* O"},
    "note": {"en": "a note", "zh": "注"},
    "bind": [
        {"module": "torch.nn.Linear", "x": "arg:input", "A": "param:weight", "b": "param:bias | 0", "out": "return"}
    ],
    "variant": [{"name": "without bias", "formula": "x @ T(A)"}],
}


def entry(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(ENTRY) | changes


@pytest.mark.parametrize("equation", library().equations.values(), ids=lambda e: e.id)
def test_what_ships_is_whole(equation: Any) -> None:
    assert set(equation.note) == {"en", "zh"}
    assert "§" in equation.cite or "documentation" in equation.cite or "Eq." in equation.cite or "20" in equation.cite
    drawn = "\n".join(mathtext.render(equation.tex))
    assert "\\" not in drawn and "?" not in drawn  # the TeX was drawn, not given back
    assert equation.binds and {symbol for symbol, _ in equation.formula.statements} & set(equation.dims)


def test_what_ships_is_found_beside_a_checkout_and_inside_a_wheel() -> None:
    assert {"torch.toml", "attention.toml", "transformer.toml", "bert.toml", "gpt2.toml"} <= {
        f.name for f in folder().glob("*.toml")
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cite": ""}, "'cite' is missing"),
        ({"tex": 3}, "'tex' is missing or is not text"),
        ({"formula": "x @ T(A) +"}, "The formula ends where it needs"),
        ({"formula": "x @ T(A) + c"}, "uses 'c', which is neither bound nor a dimension"),
        ({"formula": "system(x)"}, "There is no function 'system'"),
        ({"formula": "y = x @ T(A)"}, "the formula's result is not bound"),
        ({"dims": {"x": "* I", "A": "O (I", "out": "* O"}}, "cannot be read from column"),
        ({"dims": {"x": "* I", "A": "O I", "b": "O"}}, "has no dims"),
        ({"dims": ENTRY["dims"] | {"A": "I I"}}, "the dimensions 'I I' have 'I' twice"),
        ({"dims": ["x"]}, "'dims' must be a table of texts"),
        (
            {"bind": [{"x": "arg:input", "out": "return"}]},
            "names its steps by one of class, function, module, base, structure",
        ),
        ({"bind": [ENTRY["bind"][0] | {"class": "Linear"}]}, "names its steps by one of"),
        ({"bind": [ENTRY["bind"][0] | {"x": "input"}]}, "the source 'input' is not of the form"),
        ({"bind": [ENTRY["bind"][0] | {"x": "arg:input.__class__()"}]}, "is not of the form"),
        ({"bind": [ENTRY["bind"][0] | {"random": 3}]}, "'random' must be a text"),
        ({"variant": [{"formula": "x"}]}, "'name' is missing"),
        ({"variant": [{"name": "v", "formula": "x @"}]}, "The formula ends where it needs"),
    ],
)
def test_a_mistake_names_the_file_the_equation_and_itself(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(entry(**changes), "mine.toml")
    assert str(caught.value).startswith("mine.toml, equation 'linear': ") and sentence in str(caught.value)


KEYS = ("when", "unless", "flow")
BIND = """[[equation]]
id = "e"
cite = "c"
tex = "y"
formula = "x"
dims = {{ x = "*", out = "*" }}
bind = [{{ class = "A", {} = 3, x = "arg:x", out = "return" }}]
"""


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    for text, sentence in (
        ("[[equation", "cannot be read as TOML"),
        ("a = 1", "holds no"),
        ("equation = 3", "holds no"),
        *((BIND.format(key), "'flow' must be a text" if key == "flow" else f"'{key}' must be a table") for key in KEYS),
        (f"# {'x' * 4000}", "line 1 has more than 4000 characters, or 100 dots"),
        (f"a = 1\nb{'.b' * 101} = 1", "line 2 has more than 4000 characters, or 100 dots"),
    ):
        file.write_text(text)
        with pytest.raises(RecipeError, match=sentence):
            read(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path / "missing.toml")


class Base(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


class Heir(Base):
    pass


class Stranger(Base):
    def forward(self, x: Any) -> Any:
        return -x


def named(identifier: str, **matcher: Any) -> Any:
    bind = {"x": "arg:x", "out": "return"} | matcher
    return parse(entry(id=identifier, formula="x", dims={"x": "*", "out": "*"}, bind=[bind], variant=[]), "mine.toml")


def levels(found: Any) -> list[list[str]]:
    return [[m.equation.id for m in level] for level in found]


def test_a_class_stands_before_its_torch_module_and_inherits_with_its_forward() -> None:
    general, family = named("general", module=f"{__name__}.Base"), named("family", **{"class": "Heir"})
    both = Library([general, family])
    assert levels(both.of_module(Heir)) == [["family"], ["general"]]
    assert levels(both.of_module(Base)) == [["general"]]
    assert levels(Library([general]).of_module(Heir)) == [["general"]]
    assert both.of_module(Stranger) == ()  # its forward is another one


def test_a_function_is_matched_by_pattern_and_first_within_its_family() -> None:
    general = named("general", function="*_attention_forward")
    family = named("family", function="*_attention_forward", within="Heir")
    both = Library([general, family])
    assert levels(both.of_function("sdpa_attention_forward", Heir)) == [["family"], ["general"]]
    assert levels(both.of_function("sdpa_attention_forward", Base)) == [["general"]]
    assert both.of_function("forward", Heir) == ()


def test_a_function_of_the_users_own_is_stated_by_their_own_recipe_alone() -> None:
    library = Library([named("shipped", function="attend")], [named("own", function="attend")])
    for ours, stated in ((True, [True, True]), (False, [True, False])):
        found = [match for level in library.of_function("attend", Base, ours) for match in level]
        assert [match.equation.id for match in found] == ["own", "shipped"]
        assert [match.evidence == STATED for match in found] == stated
