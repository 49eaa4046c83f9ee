"""Stepping is a pure function of trace and position; every step forward has its step back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace import Trace
from tftrace.navigate import stepping

from ..support.builders import attention_trace, tree_trace

# 0 Model > 1 line > 2 embed | 3 line > 4 attention > 5 line > 6 query | 7 line > 8 key | 9 line | 10 line > 11 attend
#   > 12 line, 13 line | 14 line


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return attention_trace(tmp_path_factory.mktemp("stepping"), forwards=2)


def test_into_visits_every_step_and_stays_at_the_last(trace: Trace) -> None:
    assert [stepping.into(trace, at) for at in (0, 5, 29)] == [1, 6, 29]
    assert [stepping.back_into(trace, at) for at in (0, 1, 29)] == [0, 0, 28]


def test_over_skips_what_is_inside(trace: Trace) -> None:
    assert stepping.over(trace, 3) == 15  # the line that calls attention; after it the forward is over
    assert stepping.over(trace, 5) == 7
    assert stepping.over(trace, 15) == 15  # nothing follows the last forward
    assert stepping.back_over(trace, 7) == 5
    assert stepping.back_over(trace, 5) == 4  # no sibling before: the call around it
    assert stepping.back_over(trace, 15) == 0


def test_out_returns_to_the_caller_and_back_out_to_the_entry(trace: Trace) -> None:
    assert stepping.out(trace, 12) == 14  # attend() has returned
    assert stepping.out(trace, 11) == 15  # a call is in its caller: attention returns, and with it the forward
    assert stepping.out(trace, 27) == 29
    assert stepping.back_out(trace, 13) == 11
    assert stepping.back_out(trace, 11) == 4
    assert stepping.back_out(trace, 0) == 0


def test_continue_halts_where_something_is_wrong(trace: Trace) -> None:
    # GIVEN a second forward whose query returns NaN and whose attention differs from its equation
    # THEN its start, the query and the attention are stops, both ways
    assert stepping.stops(trace) == (0, 15, 21, 26)
    assert [stepping.continue_(trace, at) for at in (0, 15, 21, 26)] == [15, 21, 26, 29]
    assert [stepping.back_continue(trace, at) for at in (29, 26, 3, 0)] == [26, 21, 0, 0]


def test_search_looks_at_names_classes_equations_and_the_text_of_lines(trace: Trace) -> None:
    assert stepping.search(trace, "EMBED")[:2] == [1, 2]  # the line that calls it, and the call
    assert stepping.search(trace, "linear") == [6, 8, 21, 23]
    assert stepping.search(trace, "mask is not") == [9, 24]
    assert stepping.search(trace, "[") == []


@st.composite
def trees(draw: st.DrawFn) -> list[int]:
    depths = [0]
    for jump in draw(st.lists(st.integers(-4, 1), max_size=40)):
        depths.append(max(0, min(depths[-1] + 1, depths[-1] + jump)))
    return depths


@settings(max_examples=40, deadline=None)
@given(trees(), st.sets(st.integers(1, 40)))
def test_on_any_tree(depths: list[int], lines: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = tree_trace(Path(folder), depths, lines)
        last = len(trace) - 1
        walked = [0]
        while stepping.into(trace, walked[-1]) != walked[-1]:
            walked.append(stepping.into(trace, walked[-1]))
        assert walked == list(range(len(trace)))  # `into` visits every step once
        for at in range(len(trace)):
            # the tree read in whole columns is the tree read step by step
            inside = next((i for i in range(at + 1, len(depths)) if depths[i] <= depths[at]), len(depths))
            above = next((i for i in range(at - 1, -1, -1) if depths[i] < depths[at]), None)
            assert trace.ends[at] == inside
            assert trace.parent(at) == above
            assert trace.children(at) == [i for i in range(at + 1, inside) if trace.parent(i) == at]
            # every stepper stays in the trace, forwards goes on and backwards goes back
            for forward in (stepping.into, stepping.over, stepping.out, stepping.continue_):
                assert at <= forward(trace, at) <= last
            for backward in (stepping.back_into, stepping.back_over, stepping.back_out, stepping.back_continue):
                assert 0 <= backward(trace, at) <= at
            # and the reverse undoes the step
            if at < last:
                assert stepping.back_into(trace, stepping.into(trace, at)) == at
            # `over` goes no deeper, and `out` ends higher up unless the trace ends
            assert depths[stepping.over(trace, at)] <= depths[at]
            after = stepping.out(trace, at)
            assert depths[after] < depths[at] or depths[after] == 0 or after == last
            following = stepping.over(trace, at)
            if following != at and depths[following] == depths[at]:
                assert stepping.back_over(trace, following) == at
            assert stepping.back_continue(trace, stepping.continue_(trace, at)) <= at
