"""The screen of lessons, driven by keys: every station in both languages, answers right and wrong, experiments."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"

import pytest
from textual import events
from textual.pilot import Pilot

from tftrace.language import speaking, spoken, tr
from tftrace.language.retell import retold
from tftrace.learn import Lesson, lessons
from tftrace.learn.exercises import write_start
from tftrace.learn.lesson_runs import Recording
from tftrace.learn.session import LessonSession
from tftrace.tui.learn.lesson_keys import LESSON_KEYMAP
from tftrace.tui.learn.lesson_layout import marked
from tftrace.tui.learn.lesson_loop import own_run, pair_of
from tftrace.tui.learn.lessonapp import LessonApp
from tftrace.tui.paint.broken_lines import broken
from tftrace.tui.paint.palette import style

from ..tui.test_app import press, screen, settle
from .recorded import Recorded
from .test_exercises import ATTENTION, MULTI_HEAD

QUICK = {("notes", "zh")}
BODIES = {"attention": ATTENTION, "multi-head": MULTI_HEAD}
WALKS = [
    pytest.param(lesson, language, id=f"{lesson.id}-{language}",
                 marks=[] if (lesson.id, language) in QUICK else [pytest.mark.slow])
    for lesson in lessons() for language in ("en", "zh")
]  # fmt: skip


async def finished(app: LessonApp, pilot: Pilot[None]) -> None:
    """Wait for what runs in a thread."""
    await app.workers.wait_for_complete()
    await settle(pilot)


async def typed(app: LessonApp, pilot: Pilot[None], text: str) -> None:
    """Answer a question by keys."""
    await press(pilot, "A")
    await app.on_event(events.Paste(text))
    await press(pilot, "enter")


async def stand_at(app: LessonApp, pilot: Pilot[None], file: Path) -> None:
    """Do everything that the station offers."""
    session, station = app.session, app.session.station
    shown = screen(app).replace(" ", "")
    assert station.title[spoken()].replace(" ", "") in shown
    question = station.question
    if question is not None:
        assert question.ask[spoken()][:12].replace(" ", "") in shown
    if station.experiment is not None:
        await press(pilot, "A")
        assert tr("Run the experiment first: press X.").replace(" ", "")[:12] in screen(app).replace(" ", "")
        await press(pilot, "X")
        await finished(app, pilot)
        sentence = retold(session.outcomes[session.at].compared.sentence)
        assert sentence[:6].replace(" ", "") in screen(app).replace(" ", "")
    if station.exercise is not None:
        await press(pilot, "X")
        assert file.exists() and not session.is_done
        await press(pilot, "X")
        await finished(app, pilot)
        assert session.judged[session.at][0].told == ("not written",)
        text = file.read_text(encoding="utf-8")
        head, _, tail = text.partition("        raise NotImplementedError")
        body = BODIES[station.exercise.kind].strip("\n")
        file.write_text(head + body + tail[tail.index("\n") :], encoding="utf-8")
        await press(pilot, "X")
        await finished(app, pilot)
        assert session.is_done and "✓" in screen(app)
    elif question is not None:
        right = session.right_answer()
        assert right is not None
        if right.done is None:
            await typed(app, pilot, "nonsense")
            assert not session.is_done and "nonsense" in screen(app)
            await typed(app, pilot, right.shown)
        else:
            await press(pilot, "A")
            assert not session.is_done
            await press(pilot, "m", "x", "enter", "A")
        assert session.is_done and tr("✓ done") in screen(app)


async def walk(session: LessonSession, file: Path) -> None:
    """Go through all stations, in a new app for each run."""
    while True:
        app = LessonApp(session, session.trace(session.station.run))
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            while True:
                await stand_at(app, pilot, file)
                before = session.at
                await press(pilot, "w")
                if app.wanted or session.at == before:
                    break
        if app.wanted != "station":
            return


@pytest.mark.parametrize(("lesson", "language"), WALKS)
def test_every_station_is_walked(
    lesson: Lesson, language: str, recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", "true")
    file = next((tmp_path / one.exercise.file for one in lesson.stations if one.exercise), tmp_path / "none.py")
    with speaking(language):
        session = LessonSession(lesson, recorded)
        asyncio.run(walk(session, file))
        assert session.done == set(range(len(lesson.stations)))


@pytest.mark.slow
@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.id)
@pytest.mark.parametrize("size", [(100, 30), (200, 60)])
def test_every_station_can_be_read_in_a_small_and_a_large_terminal(
    lesson: Lesson, size: tuple[int, int], recorded: Recorded
) -> None:
    async def look(session: LessonSession) -> None:
        app = LessonApp(session, session.trace(session.station.run))
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await press(pilot, "6")
            shown = "".join(screen(app).replace("│", "").split())
            for text in (session.station.say, session.station.attempt):
                for word in text.get("zh", "").replace("`", "").split():
                    # what stands beside it comes between two of its lines
                    assert re.search(".{0,200}?".join(map(re.escape, word[:6])), shown), word

    with speaking("zh"):
        session = LessonSession(lesson, recorded)
        for session.at in range(len(lesson.stations)):
            asyncio.run(look(session))


def test_an_answer_can_be_given_below_the_attention_maps(recorded: Recorded) -> None:
    async def script() -> None:
        session = LessonSession(lessons()[3], recorded)
        session.at = 4
        app = LessonApp(session, session.trace("main"))
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            await press(pilot, "a")
            await finished(app, pilot)
            assert "at which token does" in screen(app)
            await typed(app, pilot, "plot")
            assert "“plot” is not it." in screen(app) and not session.is_done
            await typed(app, pilot, "love")
            assert "✓ Right: love (0.49)" in screen(app) and session.is_done
            await press(pilot, "escape")
            assert "5/6 See it" in screen(app)

    asyncio.run(script())


def test_hints_then_the_answer_and_keys_that_have_nothing_to_do(recorded: Recorded) -> None:
    async def script() -> None:
        app = LessonApp(LessonSession(lessons()[3], recorded), recorded_main)
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            await press(pilot, "H")
            assert "H once more shows the answer" in screen(app)
            await press(pilot, "H")
            assert "The answer is 15" in screen(app) and not app.session.is_done
            for key, said in (
                ("X", "nothing to run"),
                ("V", "nothing to see"),
                ("O", "nothing to write"),
                ("W", "first"),
            ):
                await press(pilot, key)
                assert said in screen(app)
            await press(pilot, "L")
            assert "自注意力的五步" in screen(app).replace(" ", "")
            await press(pilot, "L", "question_mark")
            assert "answer the question" in screen(app)

    session = LessonSession(lessons()[3], recorded)
    recorded_main = session.trace("main")
    asyncio.run(script())


def test_a_station_begins_without_what_the_one_before_left(recorded: Recorded) -> None:
    async def script() -> None:
        session = LessonSession(lessons()[3], recorded)
        session.at = 3
        app = LessonApp(session, session.trace("main"))
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            assert "▾ 4 softmax" in screen(app)
            await press(pilot, "slash", *"linear", "enter")
            await settle(pilot)
            assert "/linear" in screen(app)
            await press(pilot, "w")
            await settle(pilot)
            assert "/linear" not in screen(app) and "▾ 4 softmax" not in screen(app)
            assert "Attention(Q, K, V) = softmax" in screen(app)
            await press(pilot, "g")
            assert "w next station" in screen(app) and "w walk" not in screen(app)

    asyncio.run(script())


def test_what_runs_belongs_to_the_station_where_it_began(recorded: Recorded) -> None:
    session = LessonSession(lessons()[11], recorded)

    def goes_on(recording: Recording) -> Path:
        session.at = 1
        return recorded(recording)

    session.trace("main")
    session._record = goes_on
    session.run_experiment()
    assert set(session.outcomes) == {0}

    async def script() -> None:
        app = LessonApp(session, session.trace("main"))
        async with app.run_test(size=(160, 48)) as pilot:
            app._busy = (0, "Recording, and comparing: this …")
            app.show_lesson()
            await settle(pilot)
            assert "Recording, and comparing" not in screen(app)
            await press(pilot, "X")
            assert "Something else is still running" in screen(app)
            await press(pilot, "W")
            await settle(pilot)
            assert "Recording, and comparing" in screen(app)

    asyncio.run(script())


def test_after_the_last_lesson_no_other_is_offered(recorded: Recorded) -> None:
    async def script(number: int, offered: bool) -> None:
        session = LessonSession(lessons()[number - 1], recorded)
        session.at = len(session.lesson.stations) - 1
        app = LessonApp(session, session.trace(session.station.run))
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            await press(pilot, "w")
            assert ("next lesson" in screen(app)) == offered
            await press(pilot, "w")
            assert app.wanted == ("next" if offered else "")

    asyncio.run(script(16, False))
    asyncio.run(script(15, True))


def test_what_came_of_it_is_seen_side_by_side_or_in_the_run_of_the_file(recorded: Recorded, tmp_path: Path) -> None:
    four = LessonSession(lessons()[3], recorded)
    four.at = 5
    four.run_experiment()
    assert pair_of(four).names == ("tftrace record demo:bert", "tftrace record demo:bert --attn eager")
    file = tmp_path / "mine.py"
    write_start("attention", file, "en")
    own = LessonSession(lessons()[12], recorded, file=file)
    own.at = 3
    assert own.check_exercise()[0].startswith("Nothing is written yet")
    seen = own_run(own)
    assert seen.trace[0].type == "Attention"

    async def script() -> None:
        async with seen.run_test(size=(100, 30)) as pilot:
            await settle(pilot)
            assert "q comes back to the lesson" in screen(seen)

    asyncio.run(script())


def test_a_pair_opens_by_role_at_the_step_of_the_station(recorded: Recorded) -> None:
    async def script() -> None:
        eight = LessonSession(lessons()[7], recorded)
        eight.at = 5
        app = pair_of(eight)
        async with app.run_test(size=(160, 48)) as pilot:
            await app.workers.wait_for_complete()
            await settle(pilot)
            assert app.by_role and app.row is not None and app.rows[app.row].left == eight.position()
            assert "BertAttention" in screen(app) and "GPT2Attention" in screen(app)
            assert "The first difference is born" not in screen(app) and "q comes back" in screen(app)

    asyncio.run(script())


def test_keys_of_lessons_stand_in_no_others_way() -> None:
    keys = [one for group in LESSON_KEYMAP.values() for key in group for one in key.keys.split(",")]
    assert len(keys) == len(set(keys))
    shown = {one for group in LESSON_KEYMAP.values() for key in group for one in key.shown.split()}
    named = {key for lesson in lessons() for station in lesson.stations for key in station.keys}
    assert named <= shown | {"Esc", "⌫", "Tab", "→", "h"}
    for lesson in lessons():
        for station in lesson.stations:
            assert all(f"`{key}`" in station.attempt[one] for key in station.keys for one in ("en", "zh"))


def test_chinese_breaks_between_characters_and_never_before_a_mark() -> None:
    look = style("red")
    lines = [line.plain for line in broken(marked("按 `s` 逐步走进模型，按 `S` 退回。", look, look), 12)]
    assert (
        all(line[:1] not in "，。" for line in lines)
        and "".join(lines).replace(" ", "") == "按s逐步走进模型，按S退回。"
    )
    assert [line.plain for line in broken(marked("one two\n\nthree", look, look), 7)] == ["one two", "", "three"]
