"""Which stations have been done, kept in the user's state folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .lesson import Lesson

_LIMIT = 1 << 20  # bytes; a larger file is not ours


def done(lesson: Lesson) -> set[int]:
    """The stations of a lesson that have been done, from 0."""
    found = _load().get(lesson.id, [])
    return {at for at in found if 0 <= at < len(lesson.stations)}


def mark_done(lesson: Lesson, station: int) -> None:
    """Remember that a station has been done; nothing happens if the user's folder cannot be written."""
    known = _load()
    if station in known.get(lesson.id, []):
        return
    known[lesson.id] = sorted({*known.get(lesson.id, []), station})
    with suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(file)


def forget(lesson: Lesson) -> None:
    """Start a lesson over."""
    known = _load()
    if known.pop(lesson.id, None) is not None:
        with suppress(OSError):
            _file().write_text(json.dumps(known), encoding="utf-8")


def is_done(lesson: Lesson) -> bool:
    """Whether every station has been done."""
    return len(done(lesson)) == len(lesson.stations)


def stations_done() -> dict[str, int]:
    """How many stations of each lesson have been done, by the lesson's id."""
    return {name: len(set(found)) for name, found in _load().items()}


def _load() -> dict[str, list[int]]:
    try:
        file = _file()
        if file.stat().st_size > _LIMIT:
            return {}
        data = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): [at for at in found if type(at) is int] for name, found in data.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _file() -> Path:
    from platformdirs import user_state_path

    return user_state_path("tftrace", appauthor=False) / "lessons.json"
