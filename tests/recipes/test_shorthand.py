"""What a recipe file states once: named lists, parts of binds, rows, dimensions together, variants that say only what
they change. All of it is the same as the entry written out, and a mistake in it has its line and column."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.cli import main
from tftrace.recipes.format.library import entries, folder, load, read, shipped
from tftrace.recipes.format.lint import lint
from tftrace.recipes.format.recipe import KINDS, RecipeError

from ..support.toml import tomllib

SHORT = """
[lists]
given = ["arg:x", "arg:input"]
norm  = ["norm", "ln"]
both  = ["{norm}", "rms"]

[binds.gate]
h   = "{given} of {down}"
y   = "return of {down}"
out = "return"

[[equation]]
id = "short"
cite = "c"
tex = 'h=(x+g)g'
formula = \"\"\"
s = x + g;
h = s * g;
out = y\"\"\"
dims = { "x g h" = "* F", "y out" = "* E" }
[[equation.bind]]
use = "gate"
each = [
  { up = "w1", down = "w2" },
  { up = "fc1", down = "fc2" },
]
structure = { children = ["{up}", "{down}", "{norm} | last"], without = ["{both}", "act"], class = "{both}" }
when = { "config:{up}" = true }
x   = "{given}?"
g   = "return of {up} | return of {up}.{norm}"
out = "return:[0]"
[[equation.variant]]
name = "no sum"
change = "s = g"
kind = "design"
[[equation.variant]]
name = "squared"
change = "t = g * g; h = t * g"
"""


def whole(up: str, down: str) -> str:
    return f"""
[[equation.bind]]
h   = "arg:x of {down} | arg:input of {down}"
y   = "return of {down}"
out = "return:[0]"
structure = {{ children = ["{up}", "{down}", "norm | ln | last"], without = ["norm", "ln", "rms", "act"],
  class = ["norm", "ln", "rms"] }}
when = {{ "config:{up}" = true }}
x   = "arg:x | arg:input?"
g   = "return of {up} | return of {up}.norm | return of {up}.ln"
""".replace("],\n", "],")


LONG = f"""
[[equation]]
id = "short"
cite = "c"
tex = 'h=(x+g)g'
formula = "s = x + g; h = s * g; out = y"
dims = {{ x = "* F", g = "* F", h = "* F", y = "* E", out = "* E" }}
{whole("w1", "w2")}{whole("fc1", "fc2")}
[[equation.variant]]
name = "no sum"
formula = "s = g; h = s * g; out = y"
kind = "design"
[[equation.variant]]
name = "squared"
formula = "t = g * g; h = t * g; out = y"
"""


def equations(text: str, tmp_path: Path) -> list[Any]:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert lint(file) == []
    return read(file)


def test_the_short_form_is_the_long_one(tmp_path: Path) -> None:
    (short,), (long,) = equations(SHORT, tmp_path), equations(LONG, tmp_path)
    assert short.formula.statements == long.formula.statements
    assert [(v.name, v.formula, v.dims, v.kind) for v in short.variants] == [
        (v.name, v.formula, v.dims, v.kind) for v in long.variants
    ]
    assert short.binds == long.binds and len(short.binds) == 2
    assert short.data == long.data  # so that a trace holds the same, whichever way it was written
    assert [v.kind for v in short.variants] == ["design", "mistake"]


def test_names_are_shared_by_the_files_of_a_folder(tmp_path: Path) -> None:
    head, _, entry = SHORT.partition("[[equation]]")
    (tmp_path / "shared.toml").write_text(head)
    (short,) = equations("[[equation]]" + entry, tmp_path)
    (long,) = equations(LONG, tmp_path)
    assert short.data == long.data and lint(tmp_path / "shared.toml") == []
    # AND a list of the file's own stands before one of that name in the shared file
    (other,) = equations("[lists]\nnorm = 'own'\n[[equation]]" + entry, tmp_path)
    assert other.binds[0].structure.children[2] == ("own", "last")
    # WHEN the shared file is wrong THEN the mistake names it
    (tmp_path / "shared.toml").write_text("[lists]\ngiven = 3")
    with pytest.raises(RecipeError, match=r"shared.toml: the list 'given' must be a text or a list of texts"):
        read(tmp_path / "mine.toml")


def test_an_old_file_beside_an_unrelated_shared_file_is_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "shared.toml").write_text("lists = 'of something else'")
    assert equations(LONG, tmp_path)[0].variants[1].kind == "mistake"


WRONG = """\
[lists]
norm = ["a", 3]
idle = ["b"]
late = ["{norm}"]
[binds]
part = "x"
[[equation]]
id = "wrong"
cite = "c"
tex = 'y'
covers = "everything"
formula = "s = x * 2; out = s"
dims = { "x out" = "*", x = "* D" }
[[equation.bind]]
use = "nobody"
class = ["A", "{nobody}"]
each = [{ up = 1 }]
x = "arg:x"
out = "return"
[[equation.bind]]
class = "B"
unchecked = "because of {idle}{nobody}"
x = "arg:x | arg:{ohno}"
out = "return"
[[equation.variant]]
name = "v"
kind = "sort of"
change = "s = x +"
[[equation.variant]]
name = "w"
formula = "x"
change = "out = x"
[[equation.variant]]
name = "z"
change = "t = x"
[[equation.variant]]
name = "u"
change = "out = s; t = x"
"""


def test_a_mistake_in_a_short_form_has_its_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(WRONG + "# " + "x" * 160)
    found = [(f.line, f.column, f.message.split(":")[0].rstrip(".")) for f in lint(file)]
    assert found == [
        (2, 8, "the list 'norm' must be a text or a list of texts"),
        (4, 8, "nothing refers to 'late'"),
        (4, 8, "there is no list 'norm'"),
        (6, 9, "nothing refers to 'part'"),
        (6, 9, "the part of binds 'part' must be a table"),
        (11, 11, "'covers' is one of wiring, sum, activation, gate, rotation, scale, scores, logits"),
        (13, 30, "the dimensions of 'x' are given twice"),
        (15, 8, "there is no part of binds 'nobody'"),
        (17, 8, "'each' must be a list of 1 to 100 tables of texts"),
        (22, 31, "there is no list 'nobody'"),
        (23, 18, "there is no list 'ohno'"),
        (27, 9, "'kind' is one of design, mistake"),
        (28, 18, "The formula ends where it needs a name or a number"),
        (32, 11, "a variant has a formula of its own, or a change"),
        (35, 11, "the change names no symbol that the formula gives"),
        (38, 11, "nothing follows that could use 't'"),
        (39, 161, "the line has 162 characters"),
    ]
    assert main(["recipes", "lint", str(file)]) == 1


MANY = {
    "others: at most": "[lists]\na = [" + "'x',\n" * 900 + "]\nb = ['{a}']\n",
    "KiB": "[lists]\na = [" + "'xxxxxxxxxxxx',\n" * 30 + "]\nb = [" + "'yyyyyyyyyyyy',\n" * 30 + "]\n",
}


@pytest.mark.parametrize("sentence", MANY)
def test_lists_of_lists_cost_a_sentence(sentence: str, tmp_path: Path) -> None:
    rows = ",\n".join(f"{{ r = '{n}' }}" for n in range(100))
    bind = f"[[equation.bind]]\nclass = 'A'\neach = [{rows}]\nx = 'arg:{{b}}{{a}}{{r}}'\nout = 'return'\n"
    head = "[[equation]]\nid = 'e'\ncite = 'c'\ntex = 'y'\nformula = 'x'\ndims.x = '*'\ndims.out = '*'\n"
    file = tmp_path / "many.toml"
    file.write_text(MANY[sentence] + head + bind)
    began = time.perf_counter()
    with pytest.raises(RecipeError, match=sentence):
        read(file)
    assert time.perf_counter() - began < 10


def test_the_kind_of_a_variant_stands_in_the_trace() -> None:
    model = nn.Sequential(nn.RMSNorm(4))
    with torch.no_grad(), tftrace.record(model) as trace:
        model(torch.randn(2, 4))
    variants = trace.meta["equations"]["rms-norm"]["variant"]
    kinds = {v["name"]: v["kind"] for v in variants}
    assert kinds["scaled by 1 + γ (Gemma)"] == "design" and kinds["without epsilon"] == "mistake"
    assert all("formula" in v or "dims" in v for v in variants)


def test_what_ships_can_be_reviewed() -> None:
    for file in sorted(folder().glob("*.toml")):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert max(map(len, lines)) <= 160, file.name
        long = [line for line in lines if len(line) > 90 and not line.startswith(("tex", "note", "\\quad"))]
        assert not [line for line in set(long) if long.count(line) > 7], file.name
        for entry in entries(load(file), file.name):
            labels = [variant.get("kind") for variant in entry.get("variant", [])]
            assert set(labels) <= set(KINDS), (file.name, entry["id"])
    assert {v.kind for e in shipped() for v in e.variants} == set(KINDS)


def test_the_documentation_shows_a_short_form_that_is_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    part = text.partition("## Named lists")[2].partition("```toml\n")[2].partition("```")[0]
    (equation,) = equations(part, tmp_path)
    assert len(equation.binds) == 2 and len(equation.variants) == 1 and tomllib.loads(part)
    assert main(["recipes", "lint", str(tmp_path / "mine.toml")]) == 0
