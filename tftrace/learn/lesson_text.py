"""A lesson, and the list of lessons, as lines of text for where there is no terminal to draw on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..language import later, spoken, tr
from . import progress
from .exercise_words import place_text
from .lesson import Lesson, Station
from .lesson_runs import recording_of

_LOOKS = {
    "steps": later("list of steps"), "source": later("source"), "equation": later("equation"),
    "tensors": later("tensors"), "attention": later("attention maps"),
    "grid": later("grid of layers and forward passes"),
    "substep project": later("sub-step: project"), "substep score": later("sub-step: score"),
    "substep scale and mask": later("sub-step: scale and mask"), "substep softmax": later("sub-step: softmax"),
    "substep weighted sum": later("sub-step: weighted sum"),
}  # fmt: skip


def list_text(known: Sequence[Lesson]) -> Iterator[str]:
    """The lessons, a line for each, with progress."""
    language = spoken()
    yield tr("Lessons. 'tftrace learn N' opens one; 'tftrace learn my.toml' one of yours.")
    for lesson in known:
        done, stations = len(progress.done(lesson)), len(lesson.stations)
        mark = "✓" if done == stations else "▸" if done else " "
        far = f"  ({tr('{done} of {all} stations', done=done, all=stations)})" if done else ""
        yield f"{mark} {lesson.number:>2}  {lesson.title[language]} ─ {lesson.about[language]}{far}"


def lesson_text(lesson: Lesson, called: str = "") -> Iterator[str]:
    """A lesson: what each station says, where it goes, and what it asks; `called` is what a command line called it."""
    language, done = spoken(), progress.done(lesson)
    yield f"{lesson.number}  {lesson.title[language]}" if lesson.number else lesson.title[language]
    yield lesson.about[language]
    for name in lesson.runs:
        yield f"  {tr('run {name}', name=name)}: {recording_of(lesson, name).command}"
    for at, station in enumerate(lesson.stations):
        yield ""
        yield f"{at + 1}. {station.title[language]}" + ("  ✓" if at in done else "")
        yield from (f"   {line}" for line in station.say[language].split("\n"))
        yield from (f"   {said}: {what}" for said, what in _parts(lesson, station))
    yield ""
    yield tr("In a terminal, 'tftrace learn {label}' opens it: A answers, w goes on.", label=called or lesson.label)


def _parts(lesson: Lesson, station: Station) -> Iterator[tuple[str, str]]:
    language = spoken()
    if station.places:
        place = place_text(station.places[0])
        yield tr("go to"), place + (f" ({station.run})" if station.run != "main" else "")
    if station.look:
        yield tr("look at"), tr(_LOOKS[station.look])
    if station.attempt:
        yield tr("try"), station.attempt[language]
    if station.experiment is not None:
        yield tr("experiment"), recording_of(lesson, station.experiment.run).command
    if station.pair:
        yield tr("side by side with"), recording_of(lesson, station.pair).command
    if station.exercise is not None:
        yield tr("write"), station.exercise.file
    if station.question is not None:
        yield tr("question"), station.question.ask[language]
