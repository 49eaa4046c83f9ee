"""A slice of the fuzzer's inputs (`python -m tests.fuzz` runs more of them), and that it sees what it looks for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..fuzz import __main__ as fuzz
from ..fuzz import look
from ..fuzz.corpus import seeds

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc").exists(), reason="needs fork and /proc")


def test_nothing_but_refusals_comes_of_damaged_traces(tmp_path: Path) -> None:
    at, answers, wrong = fuzz.run(0, 40, None, tmp_path)
    assert (at, wrong) == (40, "") and sum(answers.values()) == 40
    assert answers[0] > 5 and answers[look.ALL] > 10  # some are refused, some are read


def test_the_corpus_itself_is_read_in_full() -> None:
    assert [look.look(seed, slow) for seed in seeds() for slow in range(3)] == [look.ALL] * 12


def _raise() -> None:
    raise ValueError("a bug")


def _compute() -> None:
    while True:
        pass


def _take() -> None:
    _kept.append(bytearray(200 << 20))


_kept: list[bytearray] = []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda: time.sleep(60), "SIGALRM"),
        (_compute, "SIGPROF"),
        (_raise, "an exception"),
        (_take, "an exception"),
    ],
    ids=["crash", "wait", "hang", "exception", "memory"],
)
def test_a_finding_is_found(
    harm: Callable[[], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harmed(folder: Path, slow: int) -> int:
        harm()
        return 0

    monkeypatch.setattr(fuzz, "look", harmed)
    monkeypatch.setattr(fuzz, "SECONDS", 0.2 if said == "SIGPROF" else 60)
    monkeypatch.setattr(fuzz, "WAIT", 0.2 if said == "SIGALRM" else 60)
    monkeypatch.setattr(fuzz, "PEAK", 100 << 20)
    at, _, wrong = fuzz.run(5, 7, None, tmp_path)
    assert (at, wrong[:9]) == (6, "input 5: ") and said in wrong
