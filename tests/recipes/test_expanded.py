"""The shipped recipes, kept expanded: the same equations as when they are read, parsed when they are asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tftrace.recipes.format.expanded import store, stored
from tftrace.recipes.format.library import folder, read_all
from tftrace.recipes.format.recipe import KINDS
from tftrace.trace import schema

FEW = ("activations.toml", "attention.toml", "stacks.toml", "papers.toml", "shared.toml")


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    for name in FEW:
        shutil.copy(folder() / name, tmp_path / name)
    return tmp_path


def test_all_that_ships_is_the_same_and_not_parsed_before_it_is_asked_for(tmp_path: Path) -> None:
    read, kept = read_all(folder()), tmp_path / "kept.json"
    store(read, folder(), kept)
    found = stored(folder(), kept)
    assert found is not None and len(found) > 200
    assert not any("formula" in vars(equation) for equation in found)
    assert [[b.matcher for b in e.binds] for e in found] == [[b.matcher for b in e.binds] for e in read]
    assert [[b.chained for b in e.binds] for e in found] == [[b.chained for b in e.binds] for e in read]
    assert not any("formula" in vars(equation) for equation in found)  # the names of steps are told without
    assert found == read and [e.data for e in found] == [e.data for e in read]
    assert "formula" in vars(found[0]) and found[0].binds[0].symbols
    with pytest.raises(AttributeError, match="formulas"):
        _ = found[0].formulas  # type: ignore[attr-defined]


def test_it_counts_only_for_the_recipes_that_it_was_made_of(recipes: Path) -> None:
    kept = recipes / "kept.json"
    store(read_all(recipes), recipes, kept)
    assert stored(recipes, kept)
    with (recipes / FEW[0]).open("a") as changed:
        changed.write("\n")
    assert stored(recipes, kept) is None


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed"])
def test_without_it_recipes_are_read(recipes: Path, damage: str) -> None:
    kept = recipes / "kept.json"
    store(read_all(recipes), recipes, kept)
    content = kept.read_bytes()
    damaged = {"empty": b"", "cut": content[:-9], "changed": content.replace(b"softmax", b"softmin", 1)}
    if damage == "missing":
        kept.unlink()
    else:
        assert damaged[damage] != content
        kept.write_bytes(damaged[damage])
    assert stored(recipes, kept) is None


def test_it_is_made_by_python_alone() -> None:
    code = "import sys; sys.modules |= {'numpy': None, 'pyarrow': None}; import tftrace.recipes.format.library"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_recipes_and_traces_name_kinds_of_variants_alike() -> None:
    assert KINDS == (schema.DESIGN, schema.MISTAKE)
