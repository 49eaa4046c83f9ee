"""The power of the checks is told rightly: where a mistake is seen and where it is not; sound models are sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from . import table
from .__main__ import of_transformers
from .mistakes import EPSILON, GELU, MISTAKES, NORM, PLANTS, SCALE, SWAPPED
from .models import names
from .outcome import BENEATH, DESIGN, ELSEWHERE, NOT, RIGHT, Difference, alarms, differing, effect, judged
from .plants import EDITS, made

pytestmark = pytest.mark.usefixtures("no_grad")


def difference(name: str, verdict: str = "differs", around: str = "", below: str = "") -> Difference:
    inside = (frozenset(below.split()), frozenset[str]())
    return Difference(name, "norm", verdict, frozenset(around.split()), inside)


def test_where_a_mistake_is_seen() -> None:
    here, inside = difference("layers.1.norm"), difference("layers.1.norm.f", around="layers.1.norm layers.1")
    outside, far = difference("layers.1", below="layers.1.norm layers.1.mlp"), difference("head")
    for one in (here, inside, outside):
        assert judged([], [one, far], "layers.1.norm", 1.0) == RIGHT
        assert judged([], [one], "layers.*.norm", 1.0) == RIGHT
    assert judged([], [outside], "layers.1.norm", 1.0, above=0) == ELSEWHERE
    assert judged([], [far], "layers.1.norm", 1.0) == ELSEWHERE
    # what differed before says nothing, unless it was by design
    assert judged([here], [here], "layers.1.norm", 1.0) == NOT
    assert judged([here], [here], "layers.1.norm", 1e-9) == BENEATH
    design = difference("layers.1.norm", "differs by design")
    assert judged([], [design], "layers.1.norm", 1.0) == DESIGN
    assert judged([design], [here], "layers.1.norm", 1.0) == RIGHT
    assert alarms([design, here]) == [here]
    # of the whole model only its own steps tell
    assert judged([], [difference("")], "", 1.0) == RIGHT and judged([], [here], "", 1.0) == ELSEWHERE


def test_what_a_mistake_does_to_the_result() -> None:
    one = torch.ones(4, 4)
    assert effect({"a": one, "b": one[0]}, {"a": one * 1.5, "b": one[0]}) == pytest.approx(0.5)
    assert effect((one, [one]), (one, [one])) == 0 and effect(one, one[:2]) == float("inf")


def test_there_are_twelve_of_each() -> None:
    assert len(MISTAKES) == len(PLANTS) == len(EDITS) == 12 and len(names()) > 50
    assert all(SCALE in [edit.mistake for edit in edits] and len(edits) >= 9 for edits in EDITS.values())


@pytest.mark.parametrize("name", EDITS)
def test_a_model_that_somebody_wrote_is_sound(name: str, tmp_path: Path) -> None:
    model, inputs = made(name, tmp_path)
    assert alarms(differing(lambda: model(*inputs), model)) == []
    for edit in EDITS[name]:  # and runs with each mistake, which is another program
        broken, given = made(name, tmp_path, edit)
        assert torch.as_tensor(broken(*given)).shape == model(*inputs).shape


def test_mistakes_in_a_model_type() -> None:
    found = of_transformers("mistral")
    assert found.alarms == []
    assert {found.outcomes[mistake] for mistake in (SCALE, NORM, EPSILON, SWAPPED)} == {RIGHT}
    assert GELU not in found.outcomes  # it has none


def test_the_table_is_written_where_the_former_one_was(tmp_path: Path) -> None:
    result = table.Result("one", ["norm at head"], {NORM: RIGHT, SCALE: NOT, GELU: DESIGN})
    drawn = table.drawn({table.KNOWN: [result], table.BENEATH_TEXT: [], table.IN_TEXT: [result, result]})
    rows = {row.split(" | ")[0].lstrip("| "): row for row in drawn.splitlines() if row.startswith("| ")}
    assert rows[NORM] == f"| {NORM} | 1 ✗ | – | 2 ✗ |" and rows[SCALE] == f"| {SCALE} | 1 not | – | 2 not |"
    assert rows["alarms on the sound models"].endswith("| 1 | 0 | 2 |") and f"- {SCALE}: one" in drawn
    page = tmp_path / "recipes.md"
    page.write_text("# Page\n\n" + table.BEGIN + "old\n" + table.END + "\nmore\n", encoding="utf-8")
    table.write(drawn, page)
    table.write(drawn, page)
    text = page.read_text(encoding="utf-8")
    assert (
        text.startswith("# Page\n\n")
        and text.endswith("\nmore\n")
        and text.count(rows[NORM]) == 1
        and "old" not in text
    )


def test_the_page_has_the_table() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    written = text[text.index(table.BEGIN) : text.index(table.END)]
    assert all(f"| {mistake} |" in written for mistake in MISTAKES)
