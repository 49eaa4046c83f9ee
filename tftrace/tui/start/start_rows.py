"""The rows of the start screen as plain data: what each says, and the command that it stands for."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...demo import DEMOS
from ...language import later, spoken, tr
from ...learn.lesson_titles import LessonTitle
from .recent_traces import RecentTrace

_DEMO_WORDS = {
    "bert": later("BERT says whether a sentence about a film is praise"),
    "gpt2": later("GPT-2 goes on with a story"),
    "transformer": later("the paper's model turns a date into words"),
}


@dataclass(frozen=True)
class StartRow:
    """One row: a key, what it says and says besides, and what it does.

    Attributes:
        key: the key that does the same; empty for none.
        label, detail: what is shown.
        words: the words after `tftrace`; empty for a heading and for what `ask` asks first.
        ask: `lessons`, `record` or `compare`: what has to be asked first.
    """

    key: str
    label: str
    detail: str = ""
    words: tuple[str, ...] = ()
    ask: str = ""

    @property
    def heading(self) -> bool:
        """Whether this only heads the rows below it."""
        return not self.words and not self.ask


def start_rows(lessons: Sequence[LessonTitle], recent: Sequence[RecentTrace]) -> list[StartRow]:
    """All rows, in groups."""
    rows = [StartRow("", tr("Learn"))]
    rows += [
        _learn(lessons),
        StartRow("a", tr("All lessons"), tr("{count} lessons", count=len(lessons)), ask="lessons"),
    ]
    rows += [StartRow("", tr("Demos, recorded on the spot"))]
    rows += [StartRow(str(at), name, tr(_DEMO_WORDS[name]), ("demo", name)) for at, name in enumerate(DEMOS, 1)]
    rows += [StartRow("", tr("A model of yours"))]
    rows += [
        StartRow("r", tr("Record a model"), tr("a name of Hugging Face, or a folder"), ask="record"),
        StartRow("c", tr("Compare two traces"), tr("where do they part?"), ask="compare"),
    ]
    if recent:
        rows += [StartRow("", tr("Opened lately"))]
        keys = "456789"
        for at, one in enumerate(recent):
            rows.append(
                StartRow(keys[at] if at < len(keys) else "", Path(one.path).name, _about(one), ("view", one.path))
            )
    return rows


def lesson_rows(lessons: Sequence[LessonTitle]) -> list[StartRow]:
    """A row for each lesson."""
    return [
        StartRow("", f"{_mark(one)} {one.number:>2}  {one.title[spoken()]}", _far(one), ("learn", str(one.number)))
        for one in lessons
    ]


def record_words(typed: str) -> list[str]:
    """The words of a command that records what was typed: a model, and perhaps a text or options after it."""
    words = shlex.split(typed)
    if len(words) > 1 and not words[1].startswith("-"):
        return ["record", words[0], "--text", " ".join(words[1:])]
    return ["record", *words]


def compare_words(typed: str) -> list[str]:
    """The words of a command that shows the two traces that were typed side by side."""
    words = shlex.split(typed)
    if len(words) != 2:
        raise ValueError(tr("Two traces are compared: type both, with a space between."))
    return ["view", *words]


def _learn(lessons: Sequence[LessonTitle]) -> StartRow:
    """The lesson to go on with: the first that is begun or untouched."""
    left = [one for one in lessons if one.done < one.stations] or list(lessons)
    one = next((lesson for lesson in left if lesson.done), left[0])
    done = sum(lesson.done == lesson.stations for lesson in lessons)
    label = tr("Lesson {number}: {title}", number=one.number, title=one.title[spoken()])
    far = tr("{done} of {all} lessons done", done=done, all=len(lessons)) if done else tr("begin here")
    return StartRow("l", label, _far(one) or far, ("learn", str(one.number)))


def _mark(one: LessonTitle) -> str:
    return "✓" if one.done == one.stations else "▸" if one.done else " "


def _far(one: LessonTitle) -> str:
    return tr("{done} of {all} stations", done=one.done, all=one.stations) if one.done else ""


def _about(one: RecentTrace) -> str:
    said = f"{one.model}  “{one.text}” → {one.answer}" if one.text and one.answer else f"{one.model}  {one.answer}"
    return f"{said.strip()}  {_ago(time.time() - one.when)}"


def _ago(seconds: float) -> str:
    for size, word in ((86400, tr("{count} d ago")), (3600, tr("{count} h ago")), (60, tr("{count} min ago"))):
        if seconds >= size:
            return word.format(count=int(seconds // size))
    return tr("just now")
