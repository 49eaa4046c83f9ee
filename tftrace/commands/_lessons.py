"""Takes a lesson in a terminal: its runs are recorded by tftrace itself, in a process of their own, and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import TraceError
from ..language import tr
from ..learn import Lesson, lessons
from ..learn.lesson_runs import Recording, cache_folder
from ..learn.session import LessonSession
from ..terminal import say
from ..trace.trace import Trace

_PATIENCE = 600  # seconds


def record_lesson_run(recording: Recording) -> Path:
    """Record a run in a process of its own, unless its trace is in the user's cache folder; a learner's own file
    always runs again.

    Raises:
        TraceError: it could not be recorded; the sentence is the one of the command.
    """
    folder, own = recording.folder, recording.words[0] == "run"
    if not own and _whole(folder):
        return folder
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="part-", dir=cache_folder()) as part:
            made = Path(part) / folder.name
            _run(recording, Path(part), made)
            if not made.exists():
                raise TraceError(tr("Nothing was recorded: run '{command}' to see why.", command=recording.command))
            shutil.rmtree(folder, ignore_errors=True)
            made.replace(folder)
    except OSError as error:
        raise TraceError(
            tr("The lesson's run cannot be kept in {folder} ({why}): make room there, or set XDG_CACHE_HOME.",
               folder=cache_folder(), why=error.strerror or error)
        ) from error  # fmt: skip
    return folder


def _run(recording: Recording, part: Path, made: Path) -> None:
    words = list(recording.words)
    if recording.config is not None:
        file = part / "config.json"
        file.write_text(json.dumps(dict(recording.config)), encoding="utf-8")
        words = [str(file) if word == "{config}" else word for word in words]
    at = 1 if words[0] == "run" else len(words)  # options of `tftrace run` stand before the program
    command = [sys.executable, "-m", "tftrace", *words[:at], "-o", str(made), *words[at:]]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        sentence = tr("It took longer than ten minutes: run '{command}' yourself.", command=recording.command)
        raise TraceError(sentence) from error
    if done.returncode and words[0] != "run":
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        raise TraceError(last.removeprefix("tftrace: ") or tr("It could not be recorded."))


def _whole(folder: Path) -> bool:
    try:
        return bool(Trace(folder, head=True).meta.get("complete"))
    except TraceError:
        return False


def take_lesson(lesson: Lesson, on: Trace | None = None, file: Path | None = None) -> None:
    """Open a lesson in the debugger, and return when the user leaves."""
    from ..tui.learn.lesson_loop import run_lesson

    def told(recording: Recording) -> Path:
        if not _whole(recording.folder):
            say(tr("Recording for the lesson, once; it takes some seconds: {command}", command=recording.command))
        return record_lesson_run(recording)

    current: Lesson | None = lesson
    while current is not None:
        session = LessonSession(current, told, on, file)
        session.trace(session.station.run)
        following = run_lesson(session)
        current = next((one for one in lessons() if following and one.number == current.number + 1), None)
        on = file = None
    if lesson.number:
        say(tr("'tftrace learn {label}' comes back to this lesson.", label=lesson.label))
