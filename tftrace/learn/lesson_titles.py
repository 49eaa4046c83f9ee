"""The titles of the lessons that come with tftrace, read without looking at the rest of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .lesson import LANGUAGES, Words
from .progress import stations_done

FOLDER = Path(__file__).parent.parent / "lessons"
_LINE = re.compile(r'^(id|number|title\.en|title\.zh) = "?(.*?)"?$', re.MULTILINE)


@dataclass(frozen=True)
class LessonTitle:
    """A lesson as the start screen lists it: its number, title, stations, and how many of them have been done."""

    number: int
    title: Words
    stations: int
    done: int


def lesson_titles() -> list[LessonTitle]:
    """The lessons that come with tftrace, by number."""
    done, found = stations_done(), []
    for file in sorted(FOLDER.glob("*.toml")):
        text = file.read_text(encoding="utf-8-sig")
        head = dict(_LINE.findall(text.partition("[run.")[0]))
        stations = text.count("\n[[station]]")
        title = {one: head[f"title.{one}"] for one in LANGUAGES}
        found.append(LessonTitle(int(head["number"]), title, stations, min(done.get(head["id"], 0), stations)))
    return sorted(found, key=lambda one: one.number)
