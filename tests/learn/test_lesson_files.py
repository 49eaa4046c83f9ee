"""Lesson files: those that ship are whole in both languages, and a mistake is told with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.learn import LANGUAGES, Lesson, lessons, read_lesson
from tftrace.learn.exercise_words import told_words
from tftrace.learn.lesson_file import FOLDER
from tftrace.learn.lesson_lint import lint_lesson
from tftrace.learn.places import ROLES
from tftrace.learn.questions import KINDS
from tftrace.learn.usual_mistakes import USUAL

SMALL = """\
id = "mine"
title.en = "Mine"
title.zh = "我的"
about.en = "A lesson."
about.zh = "一课。"
[run.main]
source = "demo:bert"
[[station]]
title.en = "Heads"
title.zh = "头"
say.en = "Look."
say.zh = "看。"
go = { role = "attention", layer = 0 }
[station.question]
kind = "heads"
ask.en = "How many heads?"
ask.zh = "几个头？"
hint.en = "Count."
hint.zh = "数一数。"
"""


def texts(lesson: Lesson) -> list[dict[str, str]]:
    found = [lesson.title, lesson.about]
    for station in lesson.stations:
        found += [station.title, station.say, *([station.attempt] if station.attempt else [])]
        found += [station.question.ask, station.question.hint] if station.question else []
    return [dict(one) for one in found]


def test_roles_are_those_of_the_documentation_and_a_slip_is_named(tmp_path: Path) -> None:
    said = " ".join((Path(__file__).parents[2] / "docs" / "lessons.md").read_text(encoding="utf-8").split())
    assert all(f"`{role}`" in said for role in ROLES if not role.startswith(("key pro", "value pro")))
    file = tmp_path / "mine.toml"
    slips = SMALL.replace('role = "attention"', 'role = "atention"')
    attempt = 'try.en = "Press `a`."\ntry.zh = "按 `a`。"\nkeys = ["b"]\n[station.question]'
    file.write_text(slips.replace("[station.question]", attempt), encoding="utf-8")
    assert [(one.line, one.message) for one in lint_lesson(file)] == [
        (13, "there is no role 'atention': is it 'attention'?"),
        (16, "'b' is named here, so try.en has to show it between backticks."),
        (16, "'b' is named here, so try.zh has to show it between backticks."),
    ]


def test_the_lessons_that_ship_are_whole() -> None:
    known = lessons()
    assert [one.number for one in known] == list(range(1, len(known) + 1))
    assert len({one.id for one in known}) == len(known)
    for lesson in known:
        assert all(text.keys() == set(LANGUAGES) for text in texts(lesson)), lesson.id
        assert all(
            any("\u4e00" <= char <= "\u9fff" for char in text["zh"]) or text["zh"].lower() == text["en"].lower()
            for text in texts(lesson)
        )
        assert any(station.question for station in lesson.stations)


def test_no_lesson_that_ships_has_a_mistake() -> None:
    assert {file.name: lint_lesson(file) for file in FOLDER.glob("*.toml") if lint_lesson(file)} == {}


def test_every_usual_mistake_has_a_sentence_in_both_languages() -> None:
    words = told_words()["exercise"]
    assert set(USUAL) <= words.keys()
    assert all(said.keys() == set(LANGUAGES) for said in words.values())


def test_a_small_lesson_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL, encoding="utf-8")
    lesson = read_lesson(file)
    assert lesson.label == "mine" and lesson.stations[0].places[0].role == "attention"
    assert lint_lesson(file) == []
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as editors on Windows write UTF-8
    assert read_lesson(file) == lesson and lint_lesson(file) == []


def test_the_lesson_of_the_documentation_is_whole(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lessons.md").read_text(encoding="utf-8")
    file = tmp_path / "first-look.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    assert lint_lesson(file) == [] and len(read_lesson(file).stations) == 2
    assert all(f"| `{name}` | {kind.about} |" in page for name, kind in KINDS.items())


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('kind = "heads"', 'kind = "head"', (15, 9), "there is no kind 'head'"),
        ('hint.zh = "数一数。"\n', "", (18, 1), "hint.zh is missing"),
        ("layer = 0", 'layer = "0"', (13, 37), "layer has to be a whole number"),
        ("layer = 0", f"layer = {10**30}", (13, 36), "layer has to be a whole number"),
        ("demo:bert", "/etc/passwd", (7, 11), "a lesson runs on a demo"),
        ("Look.", "\\u001b]0;mine\\u0007", (11, 11), "cannot be seen"),
        ('say.en = "Look."', "say.en = 3", (11, 1), "say.en is missing"),
        ('id = "mine"', 'id = "../mine"', (1, 7), "an id has small letters"),
        ("[station.question]", 'look = "nowhere"\n[station.question]', (14, 9), "there is no look 'nowhere'"),
        ("[station.question]", 'experiment = "other"\n[station.question]', (14, 15), "there is no run 'other'"),
        ("[station.question]", "[station.quesion]", (14, 1), "there is no 'quesion' here: is it 'question'?"),
        ("[[station]]", "[station]", (8, 1), "station has to be a list"),
        ('kind = "heads"', 'kind = "masked"', (14, 1), "needs row"),
        ('kind = "heads"', 'kind = "comparison"', (15, 9), "needs a station with an experiment"),
    ],
)
def test_lint_tells_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, place: tuple[int, int], message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(SMALL.replace(old, new, 1), encoding="utf-8")
    found = lint_lesson(file)
    assert any((one.line, one.column) == place and message in one.message for one in found), found
    assert main(["learn", "--lint", str(file)]) == 1
    assert f"mine.toml:{place[0]}:{place[1]}:" in capsys.readouterr().out
    assert main(["learn", str(file)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "\x1b" not in told and "--lint" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read"),
        (b"id = ", "is not valid TOML"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"#" * (1 << 20) + b"#", "has more than 1 MB"),
        (b"id = 1", "id has to be a text"),
    ],
)
def test_what_is_no_lesson_gets_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    assert main(["learn", str(file)]) == 2
    assert message in (told := capsys.readouterr().err) and told.count("\n") == 1


def test_a_lesson_that_is_not_there(tmp_path: Path) -> None:
    for said in ("99", "0", "nothing", str(tmp_path / "no.toml"), "9" * 400):
        assert main(["learn", said]) == 2
    with pytest.raises(TraceError, match="There is no file"):
        read_lesson(tmp_path / "no.toml")


def test_without_a_terminal_lessons_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn"]) == 0
    assert "Self-attention in five steps" in capsys.readouterr().out
    assert main(["learn", "4", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "自注意力的五步" in out and "第 0 层 · 注意力" in out and "tftrace record demo:bert --attn eager" in out
