"""Finds every mistake in a lesson file, with its line and column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..errors import TraceError
from ..recipes.format.toml_positions import places
from .lesson_file import examine_lesson, load_lesson
from .reading import LessonMistake
from .reading import Path as KeyPath

_SYNTAX = re.compile(r"\(at line (\d+), column (\d+)\)")
_MOST = 1000  # mistakes that are reported


class LessonFinding(NamedTuple):
    """One mistake; line and column count from 1."""

    line: int
    column: int
    message: str


def lint_lesson(file: Path) -> list[LessonFinding]:
    """Every mistake in a lesson file, in the order of their places; if it is no TOML, only the first.

    Raises:
        TraceError: there is no such file, or it cannot be read as text.
    """
    try:
        data = load_lesson(file)
    except TraceError as error:
        at = _SYNTAX.search(str(error))
        if "is not valid TOML" not in str(error):
            raise
        line, column = (int(at[1]), int(at[2])) if at else (file.read_text(encoding="utf-8-sig").count("\n") + 1, 1)
        return [LessonFinding(line, column, _SYNTAX.sub("", str(error).partition(": ")[0]).strip() + ".")]
    text = file.read_text(encoding="utf-8-sig")
    known = places(text)
    _, mistakes = examine_lesson(data)
    return sorted({_finding(text, known, mistake) for mistake in mistakes})[:_MOST]


def _finding(text: str, known: dict[KeyPath, int], mistake: LessonMistake) -> LessonFinding:
    path = mistake.path
    offset = next((known[path[:n]] for n in range(len(path), 0, -1) if path[:n] in known), 0)
    before = text[: min(offset, len(text))]
    return LessonFinding(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, mistake.message)
