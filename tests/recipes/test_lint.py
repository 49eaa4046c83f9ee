"""Every mistake in a recipe file has its line and column; a hostile file costs a sentence, not time or memory."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace.cli import main
from tftrace.recipes.format.library import folder, read
from tftrace.recipes.format.lint import lint
from tftrace.recipes.format.recipe import RecipeError
from tftrace.recipes.format.toml_positions import places

from ..support.toml import tomllib

WRONG = '''\
[[equation]]
id = "a"
cite = ""
tex = 'y'
formula = """
  x +
  $ y"""
dims = { x = "B (T", out = "B T" }
  [[equation.bind]]
  class = "A"
  when = { "atr:x" = 3 }
  x = "arg:__class__"
  out = 'return'

[[equation]]
id = "a" # once more
cite = "c"
tex = 'y'
formula = "x + nowhere * x"
unknown = 3
dims.x = "B"
dims.out = "B"
bind = [{ class = "A", x = "arg:x", out = "return", y = "what" }, { x = "arg:x" }]
[[equation.variant]]
formula = 'foo(x)'
'''


def test_every_mistake_is_told_where_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(WRONG)
    found = [(f.line, f.column, f.message.split(":")[0].rstrip(".")) for f in lint(file)]
    assert [(line, column) for line, column, _ in found] == [
        (3, 9), (7, 3), (8, 15), (11, 22), (12, 8), (16, 7), (19, 16), (20, 11), (23, 58), (23, 67), (24, 1), (25, 12),
    ]  # fmt: skip
    assert found[1][2] == "The formula has an unexpected '$' at column 7"
    assert found[6][2] == "the formula uses 'nowhere', which is neither bound nor a dimension"
    # AND the command prints them so that an editor can jump there, and its exit code says that there are some
    assert main(["recipes", "lint", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"{file}:3:9: 'cite' is missing or is not text." and "12 mistakes" in err


def test_what_ships_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "lint", str(folder())]) == 0
    assert capsys.readouterr().out == ""


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    for text, line in (("x = 1\ny = [", 2), ("[[equation\n", 1), ("a = 1\nb = @\n", 2), ("a = 1", 1)):
        file.write_text(text)
        assert [f.line for f in lint(file)] == [line], text


def test_lines_may_end_as_on_windows_and_begin_with_its_mark(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain.toml", tmp_path / "other.toml"
    plain.write_bytes(equation().encode())
    other.write_bytes(b"\xef\xbb\xbf" + equation().replace("\n", "\r\n").encode())
    assert lint(plain) == lint(other) and read(plain)[0].id == read(other)[0].id == "e"


def equation(**changes: str) -> str:
    parts = {
        "formula": "'x'", "dims": "{ x = '*', out = '*' }", "x": "'arg:x'", "more": ""
    } | changes  # fmt: skip
    return (
        f"[[equation]]\nid = 'e'\ncite = 'c'\ntex = 'y=x'\nformula = {parts['formula']}\ndims = {parts['dims']}\n"
        f"{parts['more']}\n[[equation.bind]]\nclass = 'A'\nx = {parts['x']}\nout = 'return'\n"
    )


HOSTILE = {
    "nested brackets": equation(formula="'" + "(" * 900 + "x" + ")" * 900 + "'"),
    "nested calls": equation(formula="'" + "gelu(" * 380 + "x" + ")" * 380 + "'"),
    "a tower of powers": equation(formula="'" + "9**" * 600 + "x'"),
    "a long chain": equation(formula="'" + "x+" * 990 + "x'"),
    "a long formula": equation(formula="'" + "x + " * 900 + "x'"),
    "nested arrays": "x = " + "[" * 3000 + "]" * 3000,
    "nested tables": equation(more="[equation.note]\n" + ".".join("a" * 1 for _ in range(1900)) + " = 'x'"),
    "nested tables, a whole file of them": "\n".join(f"[{'a.' * 99}b{n}]" for n in range(1200)),
    "many keys on a line": "a = { " + ", ".join(f"k{n} = 1" for n in range(300)) + " }\n" + "equation = 3",
    "a long line": "# " + "x" * 100_000,
    "a large file": "# x\n" * 400_000,
    "an exponent beyond floats": equation(x="1" + "0" * 400),
    "a size beyond memory": equation(dims="{ x = 'S=9999999999', out = '*' }"),
    "a python attribute": equation(x="'attr:forward.__globals__'"),
    "a call": equation(x="'attr:forward()'"),
    "a slice of stars": equation(more="", x="'return of " + "*a" * 60 + "b'"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_costs_a_sentence(what: str, tmp_path: Path) -> None:
    file = tmp_path / "hostile.toml"
    file.write_text(HOSTILE[what])
    tracemalloc.start()
    began = time.perf_counter()
    try:
        read(file)
    except RecipeError as error:
        assert len(str(error)) < 600 and "\n" not in str(error)
    else:
        assert what == "a slice of stars"  # which names nothing, and is matched in no time
    findings = lint(file)
    took, (_, most) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 20 and most < 64 << 20  # a guard against what grows without bound, far from any machine's noise
    assert bool(findings) == (what != "a slice of stars")


KEYS = st.sampled_from(["a", "b", "'c d'", "1"])
VALUES = st.recursive(
    st.sampled_from(['"x # y"', "'''a\nb'''", "1", "true", '"\\"]"', "'}'", '"""q"r"""']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: "[ " + ",\n ".join(v) + " ]"),
        st.dictionaries(KEYS, inner, max_size=2).map(
            lambda d: "{ " + ", ".join(f"{k} = {v}" for k, v in d.items()) + " }"
        ),
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "[[t]]", "[u]", "[[t]]\n[t.v]"]), st.dictionaries(KEYS, VALUES)), max_size=4
    )
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_places_are_those_of_the_values(parts: list[tuple[str, dict[str, str]]]) -> None:
    text = "\n".join(f"{head}\n" + "\n".join(f"{k} = {v} # c" for k, v in pairs.items()) for head, pairs in parts)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    known = places(text)

    def walk(path: tuple[str | int, ...], value: object) -> None:
        if isinstance(value, dict | list):
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                walk((*path, key), inner)
        else:
            rest = text[known[path] :]
            assert rest.lstrip("\n").startswith(("x # y", "a\nb", "1", "true", '\\"]', "}", 'q"r')), (path, rest)

    walk((), data)
