"""Breakpoints are compiled to positions: pattern, condition and hit count, both ways."""

from __future__ import annotations

import numpy as np
import pytest

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.navigate import breakpoints, stepping
from tftrace.navigate.breakpoints import Breakpoint, Breakpoints, breakpoint_at, matching_steps, parse_breakpoint

from ..support.builders import attention_trace


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return attention_trace(tmp_path_factory.mktemp("breakpoints"), forwards=2)


def positions(trace: Trace, text: str) -> list[int]:
    return [int(at) for at in np.flatnonzero(matching_steps(trace, parse_breakpoint(text)))]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("attention", [4, 19]),
        ("query", [6, 21]),  # the end of a path is enough
        ("attention.*", [6, 8, 11, 21, 23, 26]),
        ("Linear", [6, 8, 21, 23]),
        ("linear", []),  # paths and classes are as they are written
        ("toy.py:4", [5, 20]),
        ("*.py:10", [10, 25]),
        ("Linear when nan > 0", [21]),
        ("when verdict = differs", [26]),
        ("* when nan > 0 or verdict = differs", [21, 26]),
        ("Linear hit 3", [21, 23]),
        ("Linear when forward = 1 hit 2", [23]),
    ],
)
def test_a_breakpoint_as_it_is_typed(trace: Trace, said: str, found: list[int]) -> None:
    assert positions(trace, said) == found
    assert parse_breakpoint(str(parse_breakpoint(said))) == parse_breakpoint(said)


@pytest.mark.parametrize(
    ("said", "sentence"), [("", "needs a pattern"), ("x when nan >", "too early"), ("x when", "missing after 'when'")]
)
def test_one_that_cannot_be_read_says_why(said: str, sentence: str) -> None:
    with pytest.raises(TraceError, match=sentence):
        parse_breakpoint(said)


def test_continue_halts_at_breakpoints_and_where_something_is_wrong(trace: Trace) -> None:
    found = Breakpoints(trace)
    found.toggle(parse_breakpoint("key"))
    at = found.halts
    assert at.tolist() == [8, 21, 23, 26]
    assert [stepping.continue_(trace, p, at) for p in (0, 8, 21, 26)] == [8, 21, 23, 29]
    assert [stepping.back_continue(trace, p, at) for p in (29, 23, 8)] == [26, 21, 0]
    # what went wrong can be left out, and a breakpoint that is off counts for nothing
    found.wrong = False
    assert found.halts.tolist() == [8, 23]
    found.replace(parse_breakpoint("key"), Breakpoint("key", on=False))
    assert found.halts.tolist() == [0, 15]
    found.toggle(Breakpoint("key"))
    assert not found.all


def test_the_breakpoint_of_a_step_halts_at_it(trace: Trace) -> None:
    for at in range(len(trace)):
        assert matching_steps(trace, breakpoint_at(trace, at))[at]
    assert breakpoint_at(trace, 5) == Breakpoint("toy.py:4")
    assert breakpoint_at(trace, 0) == Breakpoint("Model")
    assert breakpoints.breakpoint_at(trace, 6) == Breakpoint("attention.query")
