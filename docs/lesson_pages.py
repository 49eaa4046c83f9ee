"""Makes docs/learn from the lessons: a page for each in both languages, with a picture of the screen at one station.

`make docs` runs it before Sphinx; the pages are not kept, so that they cannot say anything else than the lessons."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"

from tftrace import load
from tftrace.cli import main
from tftrace.language import LANGUAGES, speak, speaking
from tftrace.learn import Lesson, Station, lessons
from tftrace.learn.exercise_words import place_text
from tftrace.learn.lesson_runs import recording_of
from tftrace.learn.places import find_place
from tftrace.tui.app import TraceApp
from tftrace.tui.share.drawings import screen_svg

SIZE = (140, 40)
INDEX = {
    "en": ("Learn", "`tftrace learn N` opens a lesson on the screen, where its questions are checked against the run."),
    "zh": ("学习", "`tftrace learn N --lang zh` 在屏幕上打开一课，其中的问题对照运行结果检查。"),
}
WORDS = {
    "en": {"place": "Where", "try": "Try", "question": "Question", "run": "The run", "write": "Write"},
    "zh": {"place": "位置", "try": "试一试", "question": "问题", "run": "运行", "write": "编写"},
}


def names(language: str) -> list[str]:
    """The names of the pages in one language, below docs/learn."""
    return [f"{language}/{one.number:02}-{one.id}" for one in lessons()]


def write(folder: Path, pictures: bool = True) -> None:
    """Write every page, and draw the pictures."""
    for language in LANGUAGES:
        (folder / language).mkdir(parents=True, exist_ok=True)
        with speaking(language):
            for lesson, name in zip(lessons(), names(language), strict=True):
                (folder / f"{name}.md").write_text("\n".join(page(lesson, language)) + "\n", encoding="utf-8")
    (folder / "index.md").write_text("\n".join(index()) + "\n", encoding="utf-8")
    if pictures:
        draw(folder)


def index() -> Iterator[str]:
    """The list of lessons, in both languages."""
    yield f"# {INDEX['en'][0]} · {INDEX['zh'][0]}"
    for language in LANGUAGES:
        title, about = INDEX[language]
        yield from ("", about, "", "```{toctree}", ":maxdepth: 1", f":caption: {title}", "", *names(language), "```")
    yield from ("", "```{toctree}", ":maxdepth: 1", ":caption: Write one", "", "/lessons", "```")


def page(lesson: Lesson, language: str) -> Iterator[str]:
    """One lesson as Markdown."""
    words, seen = WORDS[language], pictured(lesson)
    yield f"# {lesson.number}. {lesson.title[language]}"
    yield from ("", lesson.about[language], "")
    yield from (
        f"{words['run']}:",
        "",
        "```console",
        *(recording_of(lesson, run).command for run in lesson.runs),
        "```",
    )
    for station in lesson.stations:
        yield from ("", f"## {station.title[language]}", "", station.say[language].strip())
        if station is seen:
            yield from ("", f"![{station.title[language]}](../pictures/{lesson.id}.{language}.svg)")
        if station.places:
            yield from ("", f"*{words['place']}*: {place_text(station.places[0])}")
        if station.attempt:
            yield from ("", f"*{words['try']}*: {station.attempt[language].strip()}")
        if station.exercise is not None:
            yield from ("", f"*{words['write']}*: `{station.exercise.file}`")
        if station.question is not None:
            yield from ("", f"*{words['question']}*: {station.question.ask[language].strip()}")


def pictured(lesson: Lesson) -> Station | None:
    """The station that has the picture: the first that goes somewhere in the lesson's own run."""
    return next((one for one in lesson.stations if one.places and one.run == "main"), None)


def draw(folder: Path) -> None:
    """Draw each lesson's picture in both languages; lessons of the same run share its recording."""
    (folder / "pictures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for lesson in lessons():
            station, recording = pictured(lesson), recording_of(lesson, "main")
            if station is None:
                continue
            path = Path(scratch) / recording.folder.name
            if not path.exists():
                config = path.with_suffix(".json")
                config.write_text(json.dumps(dict(recording.config or {})), encoding="utf-8")
                given = [str(config) if word == "{config}" else word for word in recording.words]
                if main([*given, "-o", str(path)]):
                    raise SystemExit(f"The run of lesson {lesson.number} could not be recorded.")
            for language in LANGUAGES:
                picture(path, station, language, folder / "pictures" / f"{lesson.id}.{language}.svg")
    speak("en")


def picture(path: Path, station: Station, language: str, target: Path) -> None:
    """What the screen shows at a station."""
    trace = load(path)
    app = TraceApp(trace, language, start=find_place(trace, station.places))

    async def shown() -> None:
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause(0.3)
            await app.workers.wait_for_complete()
            await pilot.pause(0.3)
            target.write_text(screen_svg(app, station.title[language]), encoding="utf-8")

    asyncio.run(shown())
