"""Every mistake in a recipe file, with its line and column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .library import entries, load
from .positions import places
from .recipe import RecipeError, examine

_SYNTAX = re.compile(r"\(at line (\d+), column (\d+)\)|, line (\d+) ")
_SPACE = re.compile(r"\s*")
_MOST = 1000  # mistakes that are told


class Finding(NamedTuple):
    """One mistake; line and column count from 1, and are 1 where the file says no more."""

    line: int
    column: int
    message: str


def lint(file: Path) -> list[Finding]:
    """Every mistake in a file, in the order in which they stand there; of one that is no TOML the first."""
    try:
        written = entries(load(file), file.name)
    except RecipeError as error:
        at = _SYNTAX.search(str(error))
        end = file.read_bytes().count(b"\n") + 1 if "end of document" in str(error) else 1
        line, column, *_ = [*(int(n) for n in (at.groups() if at else ()) if n), end, 1]
        return [Finding(line, column, _SYNTAX.sub("", str(error)).replace(" .", "."))]
    text = file.read_text(encoding="utf-8")
    known = places(text)
    found, ids = [], set()
    for number, entry in enumerate(written):
        equation, mistakes = examine(entry)
        for mistake in mistakes:
            found.append(_finding(text, known, ("equation", number, *mistake.path), mistake.message, mistake.column))
        name = entry.get("id")
        if isinstance(name, str) and name in ids:
            message = f"the file has an equation {name!r} already: give each an id of its own."
            found.append(_finding(text, known, ("equation", number, "id"), message, None))
        ids.add(name if isinstance(name, str) else None)
        if equation is not None and not equation.binds:
            message = "the equation describes no step: add an [[equation.bind]]."
            found.append(_finding(text, known, ("equation", number), message, None))
    return sorted(found)[:_MOST]


def _finding(
    text: str, known: dict[tuple[str | int, ...], int], path: tuple[str | int, ...], message: str, column: int | None
) -> Finding:
    offset = next((known[path[:n]] for n in range(len(path), 0, -1) if path[:n] in known), 0)
    if column is not None and path in known:  # within the text, which is read without the space before it
        offset += column - 1 + len(_SPACE.match(text, offset)[0])  # type: ignore[index]
    offset = min(offset, len(text))
    before = text[:offset]
    return Finding(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1, message)
