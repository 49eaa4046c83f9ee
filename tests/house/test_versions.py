"""What pyproject.toml declares is what `make test-oldest` installs."""

from __future__ import annotations

import re
from pathlib import Path

from ..support.toml import tomllib

ROOT = Path(__file__).parents[2]
UNTESTED = {"bench", "docs", "sweep", "triton", "world"}  # extras that no test of `make test` needs
LOWEST = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?(?:>=|==)([\d.]+)")


def whole(version: str) -> tuple[int, ...]:
    """A version as numbers, without zeros at its end."""
    return tuple(map(int, re.sub(r"(\.0)+$", "", version).split(".")))


def test_the_lowest_that_is_declared_is_what_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in extras.keys() - UNTESTED)]
    declared = [found for every in lists for one in every if (found := LOWEST.match(one))]
    pinned = re.findall(r"^([\w.-]+)==([\d.]+)$", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE)
    tested = {name: whole(version) for name, version in pinned if name != "torch"}  # the build at hand
    lowest = {found[1].lower(): whole(found[2]) for found in declared if found[1] != "torch"}
    assert {name: lowest.get(name) for name in tested} == tested
    assert lowest.keys() == tested.keys()
