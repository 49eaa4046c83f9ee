"""Finds every mistake in a recipe file, with its line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .library import SHARED, entries, load, stated
from .mistake import Mistake, Place, RecipeError
from .named_lists import Names, unused
from .papers import FILE as PAPERS
from .recipe import examine
from .tex_agreement import agree
from .toml_positions import places

_SYNTAX = re.compile(r"\(at line (\d+), column (\d+)\)|, line (\d+) ")
_SPACE = re.compile(r"\s*")
_MOST = 1000  # mistakes that are reported
_WIDEST = 160  # characters of a line that is still easy to review


class Finding(NamedTuple):
    """One mistake; line and column count from 1, and are 1 if they are not known."""

    line: int
    column: int
    message: str


def lint(file: Path) -> list[Finding]:
    """Find every mistake in a recipe file.

    Returns:
        The mistakes in the order of their places; if the file is no TOML, only the first.
    """
    try:
        data = load(file)
        written = entries(data, file.name)
        names, mistakes = stated(data, file)
        mistakes += _equations(written, names)
    except RecipeError as error:
        at = _SYNTAX.search(str(error))
        end = file.read_bytes().count(b"\n") + 1 if "end of document" in str(error) else 1
        line, column, *_ = [*(int(n) for n in (at.groups() if at else ()) if n), end, 1]
        return [Finding(line, column, _SYNTAX.sub("", str(error)).replace(" .", "."))]
    mistakes += [] if file.name in (SHARED, PAPERS) else unused(names, data)
    text = file.read_text(encoding="utf-8-sig")
    known = places(text)
    found = {_finding(text, known, mistake) for mistake in mistakes}
    return sorted(found | set(_long_lines(text)))[:_MOST]


def _equations(written: list[dict[str, Any]], names: Names) -> list[Mistake]:
    found, ids = list[Mistake](), set()
    for number, entry in enumerate(written):
        at: Place = ("equation", number)
        equation, mistakes = examine(entry, names)
        found += [mistake._replace(path=(*at, *mistake.path)) for mistake in mistakes]
        name = entry.get("id")
        if isinstance(name, str) and name in ids:
            message = f"the file has an equation {name!r} already: give each an id of its own."
            found.append(Mistake((*at, "id"), message))
        ids.add(name if isinstance(name, str) else None)
        if equation is not None:
            found += [mistake._replace(path=(*at, *mistake.path)) for mistake in agree(equation)]
        if equation is not None and not equation.binds:
            found.append(Mistake(at, "the equation describes no step: add an [[equation.bind]]."))
    return found


def _long_lines(text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > _WIDEST:
            yield Finding(number, _WIDEST + 1, f"the line has {len(line)} characters: break it before the {_WIDEST}th.")


def _finding(text: str, known: dict[Place, int], mistake: Mistake) -> Finding:
    path, column = mistake.path, mistake.column
    offset = next((known[path[:n]] for n in range(len(path), 0, -1) if path[:n] in known), 0)
    if column is not None and path in known:  # the column counts from the first character that is no space
        offset += column - 1 + len(_SPACE.match(text, offset)[0])  # type: ignore[index]
    offset = min(offset, len(text))
    before = text[:offset]
    return Finding(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1, mistake.message)
