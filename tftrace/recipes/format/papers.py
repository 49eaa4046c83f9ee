"""The papers that recipes cite, each stated once in a table: `{vaswani2017}` in a citation names one.

A reader sees the short form (`Vaswani et al. 2017`), and where there is room the whole one with its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .mistake import Mistake, RecipeError

FILE = "papers.toml"
_CITED = re.compile(r"\{([a-z][\w-]*)\}")
_AT = re.compile(r"\s*,?\s*([^;{]*)")
_TEXTS = ("authors", "title", "edition", "address")
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper. `edition` says which text sections and equations are counted in; `name` tells papers of the same
    authors and year apart."""

    key: str
    authors: str
    title: str
    edition: str
    address: str
    year: int | None = None
    name: str = ""

    @property
    def short(self) -> str:
        """`Devlin et al. 2018`, or `Radford et al. 2018 (GPT)`."""
        year = f" {self.year}" if self.year else ""
        return f"{self.authors}{year}{f' ({self.name})' if self.name else ''}"

    @property
    def whole(self) -> str:
        """With title and edition."""
        year = f" {self.year}" if self.year else ""
        return f"{self.authors}{year}. {self.title}. {self.edition}"


def papers(data: Mapping[str, Any]) -> tuple[dict[str, Paper], list[Mistake]]:
    """The papers that a file states, by their keys, and what is wrong with them."""
    table = data.get("papers", {})
    found, mistakes = dict[str, Paper](), list[Mistake]()
    if not isinstance(table, dict):
        return found, [Mistake(("papers",), "'papers' must be tables: [papers.KEY].")]
    for key, entry in table.items():
        wrong = _wrong(key, entry)
        mistakes += [Mistake(("papers", key, *place), message) for place, message in wrong]
        if not wrong:
            found[key] = Paper(key, **entry)
    return found, mistakes


def _wrong(key: str, entry: Any) -> list[tuple[tuple[str, ...], str]]:
    if not isinstance(entry, dict):
        return [((), f"the paper {key!r} must be a table: [papers.{key}].")]
    allowed = (*_TEXTS, "year", "name")
    found: list[tuple[tuple[str, ...], str]] = [
        ((k,), f"there is no {k!r} in a paper: there are {', '.join(allowed)}.") for k in entry if k not in allowed
    ]
    for name in _TEXTS:
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            found.append(((name,), f"{name!r} is missing or is not text."))
    if not _CITED.fullmatch(f"{{{key}}}"):
        found.append(((), f"the key {key!r} is not of small letters, digits, - and _."))
    if type(entry.get("year", 0)) is not int:
        found.append((("year",), "'year' must be a number."))
    if not isinstance(entry.get("name", ""), str):
        found.append((("name",), "'name' must be a text."))
    if isinstance(entry.get("address"), str) and not _ADDRESS.fullmatch(entry["address"]):
        found.append((("address",), "the address does not begin with http:// or https://."))
    return found


def cited(text: str, known: Mapping[str, Paper]) -> tuple[str, list[dict[str, Any]]]:
    """A citation as it is shown, and of each paper in it what a trace keeps: the paper, and where in it (`at`).

    Raises RecipeError where a key is of no paper."""
    kept = []
    for found in _CITED.finditer(text):
        paper = known.get(found[1])
        if paper is None:
            raise RecipeError(f"there is no paper {found[1]!r}: state it as [papers.{found[1]}].", found.start() + 1)
        place = _AT.match(text, found.end())
        at = place[1].strip() if place else ""
        kept.append(asdict(paper) | {"short": paper.short, "whole": paper.whole, "at": at})
    return _CITED.sub(lambda found: known[found[1]].short, text), kept


def keys(text: str) -> list[str]:
    """The keys that a citation names."""
    return _CITED.findall(text)
