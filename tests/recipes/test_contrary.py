"""`stated` of a variant: read, linted, and written out with what is contrary to it."""

from __future__ import annotations

from typing import Any

import pytest

from tftrace.recipes.evaluate.fitting import fit
from tftrace.recipes.format.library import shipped
from tftrace.recipes.format.recipe import examine, parse

ENTRY: dict[str, Any] = {
    "id": "scaled",
    "cite": "Notes",
    "tex": "y = x s",
    "formula": "x * 2",
    "dims": {"x": "* E", "out": "* E"},
    "bind": [{"class": "Scaled", "x": "arg:x", "out": "return"}],
}


def variant(**more: Any) -> dict[str, Any]:
    return {"name": "not scaled", "formula": "x", "kind": "design"} | more


def test_what_is_contrary_is_written_out_once() -> None:
    stated = {"config:scale | config:text.scale": False, "arg:scale": 1, "init:scale": "arg:scale"}
    equation = parse(ENTRY | {"variant": [variant(stated=stated)]}, "here")
    own, against, paper = equation.variants
    assert [[r.source for r in sources] for sources, _ in own.stated] == [
        ["config:scale", "config:text.scale"], ["arg:scale"], ["init:scale"]
    ]  # fmt: skip
    assert own.stated[0][1] is False and own.stated[1][1] == 1 and own.stated[2][1].kind == "arg"
    assert (against.name, against.kind, against.formula) == (
        "not scaled, contrary to what is stated", "mistake", own.formula
    )  # fmt: skip
    assert paper.kind == "mistake" and paper.formula == equation.formula
    # the trace has them all, and reading them again adds none
    assert [one["name"] for one in equation.data["variant"]] == [one.name for one in equation.variants]
    assert parse(dict(equation.data), "meta.json").variants == equation.variants
    # and none of them is looked for by itself
    assert [name for name, _ in fit(equation, (("x", (2, 3)), ("out", (2, 3))), ()).variants] == ["not scaled"]


def test_where_no_configuration_states_it_the_paper_is_contrary_to_nothing() -> None:
    equation = parse(ENTRY | {"variant": [variant(stated={"init:scale": 1})]}, "here")
    assert [one.contrary for one in equation.variants] == ["", "not scaled"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (variant(kind="mistake", stated={"config:a": 1}), "only a variant of the kind 'design' is stated"),
        (variant(stated={"a": 1}), "the source 'a' is not of the form"),
        (variant(stated={"config:a": {"b": 1}}), "a condition compares with a text, a number"),
        (variant(stated={"config:a": "config:__b"}), "what belongs to Python"),
        (variant(stated=[1]), "'stated' must be a table"),
        (variant(state={}), "there is no 'state' here"),
    ],
)
def test_mistakes_in_it_are_told(given: dict[str, Any], said: str) -> None:
    equation, mistakes = examine(ENTRY | {"variant": [given]})
    assert equation is None and any(said in mistake.message for mistake in mistakes)
    assert all(mistake.path[:2] == ("variant", 0) for mistake in mistakes)


def test_of_ours_only_designs_are_stated_and_no_name_is_given_twice() -> None:
    for equation in shipped():
        names = [one.name for one in equation.variants]
        assert len(names) == len(set(names)), equation.id
        assert all(one.kind == "design" for one in equation.stating)
    assert any(equation.stating for equation in shipped())
