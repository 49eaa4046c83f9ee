"""No lesson rots: every station leads somewhere, every question has an answer in the trace, every experiment runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrace.errors import TraceError
from tftrace.language import speaking
from tftrace.learn import Lesson, lessons, read_lesson
from tftrace.learn.questions.right_answer import about, choice, whole
from tftrace.learn.session import LessonSession, must_fit
from tftrace.trace import notes
from tftrace.trace.trace import Trace

from .recorded import Recorded
from .test_lesson_files import SMALL

RIGHT = {"attention": "scores", "multi-head": "layer"}
WRONG = ("-12345", "nonsense", "nein")


def test_an_answer_is_right_however_one_says_it() -> None:
    verdicts = ("holds", "by design", "mistake", "unchecked")
    said = [
        (
            whole(4),
            "4 · four · 四 · head 4 · 头 4 · √16 · sqrt(16) · 4.0",
            "5 · 14 · 4 of 5 · fourty · √4 · the root √4",
        ),
        (about(-0.17), "-0.17 · -.17 · −0.1699 · min -0.17", "0.17 · -0.2"),
        (about(1, 0.001), "1 · 1.0 · 100% · one · 一", "100 · 1%"),
        (choice("holds", verdicts), "holds · ✓ · yes · it holds · 成立 · 是", "no · mistake · 错误"),
        (choice("by design", verdicts), "by design · △ · differs by design · 有意不同", "yes · differs"),
        (choice("before", ("before", "after")), "before · first · 之前 · 先", "after · 后"),
    ]
    for right, good, bad in said:
        assert all(right.accepts(one) for one in good.split(" · ")), right
        assert not any(right.accepts(one) for one in bad.split(" · ")), right


@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.id)
def test_every_station_leads_to_its_place_and_its_question_is_answered_by_the_trace(
    lesson: Lesson, recorded: Recorded
) -> None:
    session = LessonSession(lesson, recorded)
    for session.at, station in enumerate(lesson.stations):
        assert session.position() is not None, station.title
        if station.experiment is not None:
            assert session.run_experiment().compared.sentence
        if station.question is None or station.exercise is not None:
            continue
        right = session.right_answer()
        assert right is not None
        if right.done is not None:
            trace = session.trace(station.run)
            notes.write(trace, session.position() or 0, "")  # which a walk through the lesson may have left
            assert not session.try_answer("")
            notes.write(trace, session.position() or 0, "seen")
            assert session.try_answer("")
            notes.write(trace, session.position() or 0, "")
            continue
        assert right.shown and not any(session.try_answer(one) for one in (*WRONG, f"9{right.shown}"))
        assert not session.is_done
        assert session.try_answer(f" {right.shown} ") and session.is_done
        with speaking("zh"):
            assert session.try_answer(right.shown)


def test_a_trace_of_ones_own_where_the_lesson_fits(recorded: Recorded, film: Trace) -> None:
    four = lessons()[3]
    must_fit(four, film)
    session = LessonSession(four, recorded, on=film)
    assert session.trace("main") is film
    right = session.right_answer()
    assert right is not None and right.shown == "8"  # tokens of the film
    assert session.command("eager").endswith("--text 'this is not a good film' --attn eager")


def test_a_trace_that_does_not_fit_gets_one_sentence(recorded: Recorded, film: Trace, tmp_path: Path) -> None:
    nine = lessons()[8]
    session = LessonSession(nine, recorded, on=film)
    session.at = 4  # cross-attention
    assert "no decoder · layer -1 · cross-attention" in session.unfit()
    file = tmp_path / "mine.toml"
    file.write_text(SMALL.replace('{ role = "attention", layer = 0 }', '{ role = "cross-attention" }'))
    with pytest.raises(TraceError, match=r"Lesson mine does not fit film\.tftrace, which has no cross-attention"):
        must_fit(read_lesson(file), film)
