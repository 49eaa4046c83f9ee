"""`tftrace learn` lists the lessons, and opens one in the debugger."""

from __future__ import annotations

from pathlib import Path

from ..errors import TraceError
from ..language import tr
from ..language.retell import retold
from ..learn import Lesson, lessons, read_lesson
from ..terminal import on_screen, say, tell
from ..text import visible
from ..trace.missing import must_have_steps
from ..trace.trace import Trace
from ._shared import Switch


def learn(
    lesson: str | None = None,
    *,
    on: Path | None = None,
    file: Path | None = None,
    lint: Switch = False,
    over: Switch = False,
) -> int:
    """Learn how transformers work: sixteen lessons in the debugger, on models that come with tftrace.

    Without a lesson this lists them; without a terminal it prints the lesson. Questions are checked against the trace.

    Parameters
    ----------
    lesson
        The number of a lesson, or a file with a lesson of your own (docs/lessons.md).
    on
        Take the lesson on this trace of yours instead of the demo's, if it fits.
    file
        Your file for the exercise of the last lessons; by default my_attention.py or my_multi_head.py in this folder.
    lint
        Find every mistake in the file, with line and column; the exit code is 1 if there is any.
    over
        Start the lesson over.
    """
    from ..learn import progress
    from ..learn.lesson_text import lesson_text, list_text
    from ..learn.session import must_fit
    from ._lessons import take_lesson

    if lint:
        return _lint(lesson)
    if lesson is None:
        if on is not None or file is not None or over:
            raise TraceError(tr("Name the lesson: 'tftrace learn 4 --on run.tftrace'."))
        tell(*list_text(lessons()))
        return 0
    chosen = find_lesson(lesson)
    if over:
        progress.forget(chosen)
    own = None if on is None else Trace(on)
    if own is not None:
        must_have_steps(own)
        must_fit(chosen, own)
    if on_screen():
        take_lesson(chosen, own, file)
    else:
        tell(*lesson_text(chosen, visible(lesson)))
    return 0


def find_lesson(said: str) -> Lesson:
    """The lesson with this number or in this file; raises TraceError if there is none."""
    known = lessons()
    if said.isdecimal():
        found = next((one for one in known if one.number == int(said[:9])), None)
        if found is None:
            sentence = tr(
                "There is no lesson {said}: 'tftrace learn' lists them, 1 to {last}.", said=said[:9], last=len(known)
            )
            raise TraceError(sentence)
        return found
    file = Path(said)
    if file.suffix != ".toml":
        raise TraceError(
            tr("{said} is no lesson: name a number from 1 to {last}, or a .toml file.", said=said, last=len(known))
        )
    return read_lesson(file)


def _lint(said: str | None) -> int:
    from ..learn.lesson_lint import lint_lesson

    if said is None:
        raise TraceError(tr("Name the file to check: 'tftrace learn --lint my.toml'."))
    found = lint_lesson(Path(said))
    tell(*(f"{said}:{one.line}:{one.column}: {retold(one.message)}" for one in found))
    if not found:
        say(tr("No mistake in {file}.", file=said))
    else:
        one = len(found) == 1
        say(tr("{count} mistake in {file}." if one else "{count} mistakes in {file}.", count=len(found), file=said))
    return int(bool(found))
