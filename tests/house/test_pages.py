"""The pages for those who work on tftrace stay true: what they name is there, what they link to is there, and what they
walk the reader through works."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture import recorder
from tftrace.recipes.format.library import Library, read
from tftrace.recipes.format.lint import lint

from .test_house import FLOOR, modules, room

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
OURS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
OURS += [ROOT / "tests" / "benchmarks" / "README.md"]
TOP = ("tftrace", "tests", "docs", "recipes", "examples")
LATER = ("tftrace/recipes/library",)  # is there in a wheel


def plain(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def named(text: str) -> set[str]:
    """The files and folders that a page names by their paths from the repository's root."""
    spans = {word for span in re.findall(r"`([^`\n]+)`", plain(text)) for word in span.split()}
    words = {word for word in spans if re.fullmatch(rf"(?:{'|'.join(TOP)})/[\w./-]*", word)}
    return {word.rstrip("/") for word in words}


def links(text: str) -> list[str]:
    """The targets of a page's links."""
    return re.findall(r"\]\(([^()\s]+)\)", plain(text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.+?) *$", plain(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(file: Path, text: str) -> list[str]:
    """The links to files, or to headings in them, that lead nowhere."""
    found = []
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = file.parent / path
        heads = text if not path else there.read_text(encoding="utf-8") if there.is_file() else ""
        if not there.exists() or (anchor and anchor not in anchors(heads)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    paths = named(page.read_text(encoding="utf-8"))
    assert len(paths) > 10
    assert {path for path in paths if path not in LATER and not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_our_pages_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_the_tests_above_see_what_is_not_there() -> None:
    text = "# A head\n[a](docs/gone.md) [b](#a-head) [c](#gone) [d](https://e.org) `tests/gone.py --x`\n"
    assert broken(ROOT / "README.md", text) == ["docs/gone.md", "#gone"]
    assert named(text + "```\n`docs/no`\n```\n") == {"tests/gone.py"}


def test_the_readme_leads_to_them() -> None:
    targets = links((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} <= set(targets)


def described() -> list[str]:
    """The rooms in the table of floors, from the lowest floor on."""
    table = PAGES[0].read_text(encoding="utf-8").split("| rooms of this floor |")[1].split("\n\n")[0]
    return [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_room_is_described_on_its_floor() -> None:
    rooms = described()
    assert set(FLOOR) <= set(rooms) and len(rooms) == len(set(rooms))
    floors = [FLOOR[name] for name in rooms if name in FLOOR]
    assert floors == sorted(floors)


def test_every_room_within_a_room_is_named() -> None:
    text = PAGES[0].read_text(encoding="utf-8").split("## The way of a forward")[0]
    within = {name.split(".")[1] for name in {room(m, file) for m, file in modules().items()} if "." in name}
    assert {name for name in within if f"`{name}`" not in text} == set()


def test_the_family_that_is_added_holds_and_its_mutation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, recipe = PAGES[1].read_text(encoding="utf-8"), tmp_path / "ember.toml"
    recipe.write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    names: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(page.split("```python\n")[1].split("```")[0], names)
    kind: Any = names["EmberFeedForward"]

    def verdicts() -> list[tuple[str, str | None]]:
        model = kind()
        with tftrace.record(model, recipes=recipe) as trace:
            model(torch.randn(2, 5, 8))
        return [(one.verdict, one.variant) for one in trace[0].checks if one.equation == "ember-ffn"]

    assert lint(recipe) == [] and verdicts() == [("holds", None)]
    breakage = textwrap.dedent(page.split("   ```python\n")[1].split("   ```")[0])
    names |= {"breaks": lambda equation, variant: lambda build: build, "Patch": pytest.MonkeyPatch, "Any": Any}
    exec(breakage, names)
    names["_ember_sigmoid_gate"](monkeypatch)
    assert verdicts() == [("differs", "the gate is a sigmoid")]
    # AND so it is once the recipe ships, where a name alone proves nothing
    monkeypatch.setattr(recorder, "_equations", lambda recipes: Library(read(recipe)))
    assert verdicts() == [("differs", "the gate is a sigmoid")]
