"""Lessons as data: reading and checking their files, finding their places, and questions that a trace answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lesson import LANGUAGES, Exercise, Experiment, Lesson, Place, Question, Run, Station
    from .lesson_file import lessons, read_lesson

__all__ = [
    "LANGUAGES",
    "Exercise",
    "Experiment",
    "Lesson",
    "Place",
    "Question",
    "Run",
    "Station",
    "lessons",
    "read_lesson",
]


def __getattr__(name: str) -> Any:
    """A name when it is first asked for: the start screen wants only titles, and soon."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".lesson_file" if name in ("lessons", "read_lesson") else ".lesson", __name__), name)
