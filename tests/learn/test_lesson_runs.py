"""Runs of lessons are recorded by tftrace itself, once, into the user's cache folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrace.commands._lessons import record_lesson_run
from tftrace.errors import TraceError
from tftrace.learn import lessons
from tftrace.learn.lesson_runs import Recording, exercise_recording, recording_of


def test_a_recording_is_a_command_that_a_learner_could_type() -> None:
    four, five, ten = lessons()[3], lessons()[4], lessons()[9]
    assert recording_of(four, "eager").command == "tftrace record demo:bert --attn eager"
    joined = recording_of(five, "joined")
    assert joined.command == "tftrace record demo:bert --text 'this is not a good film' --set num_attention_heads=2"
    assert recording_of(ten, "main").words[:4] == ("record", "--config", "{config}", "--random")
    assert recording_of(five, "joined").folder != recording_of(five, "main").folder
    assert exercise_recording(Path("my.py")).words[-1] == "my.py"


def test_a_run_is_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = record_lesson_run(Recording(("record", "demo:bert", "--level", "modules")))
    before = (kept / "meta.json").stat().st_mtime_ns
    assert kept.is_relative_to(tmp_path) and not list(kept.parent.glob("part-*"))
    again = record_lesson_run(Recording(("record", "demo:bert", "--level", "modules")))
    assert again == kept and (kept / "meta.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TraceError, match="There is no demo"):
        record_lesson_run(Recording(("record", "demo:nothing")))
