"""The papers that recipes cite. Each is described once, in a table, and cited by its key: `{vaswani2017}`.

Readers see its short form (`Vaswani et al. 2017`) and, where there is room, the whole one with its address."""

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
    """One paper.

    Attributes:
        key: The key by which recipes cite it.
        authors: Such as `Vaswani et al.`
        title: Its title.
        edition: Whose sections and equations are counted, such as a version on arXiv.
        address: Its URL.
        year: Its year, if it has one.
        name: A word that tells papers of the same authors and year apart.
    """

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
        """Authors, year, title and edition."""
        year = f" {self.year}" if self.year else ""
        return f"{self.authors}{year}. {self.title}. {self.edition}"


def papers(data: Mapping[str, Any]) -> tuple[dict[str, Paper], list[Mistake]]:
    """Read the papers that a file describes.

    Returns:
        The papers by key, and the mistakes in their tables.
    """
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
    """Resolve the keys in a citation.

    Args:
        text: The citation, such as `{vaswani2017}, Eq. (1)`.
        known: The papers, by key.

    Returns:
        The citation as it is shown; and for each paper in it the entry that a trace keeps: its fields, its short and
        its whole form, and the place in the paper as `at`.

    Raises:
        RecipeError: There is no paper with such a key.
    """
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
    """The keys in a citation."""
    return _CITED.findall(text)
