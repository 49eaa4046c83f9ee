"""Frames as the interpreter tells of them: the same of all three sources, as far as this Python has them.

No torch in here, so that the file also runs where there is none."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from tftrace.capture.watch.frames import Monitoring

from ...support.followed import (
    Failure,
    Seen,
    catch,
    catch_and_answer,
    catch_in_one_line,
    count,
    every_source,
    exhaust,
    fail,
    fail_below,
    following,
    generate,
    go_on_after_finally,
    go_on_after_with,
    hold,
    in_a_thread,
    needs_threads,
    nothing,
    raise_anew,
    recurse,
    recurse_and_fail,
    told,
    use_a_coroutine,
    use_inner_functions,
    with_lines,
)

pytestmark = pytest.mark.usefixtures("nobody_else")


# -- what all of them tell ----------------------------------------------------------------------------


@with_lines
def test_lines_come_in_order(kind: Any) -> None:
    events = told(kind, lambda: count(2), count)
    lines = [("line", "count", at) for at in (1, 2, 3, 2, 3, 2, 4)]
    assert events == [("call", "count"), *lines, ("return", "count", 2)]


@with_lines
def test_lines_of_nested_calls(kind: Any) -> None:
    events = told(kind, go_on_after_finally, go_on_after_finally, fail, nothing)
    outer = "go_on_after_finally"
    assert events == [
        ("call", outer), ("line", outer, 1), ("line", outer, 2),
        ("call", "fail"), ("line", "fail", 1), ("raise", "fail"),
        ("line", outer, 4),
        ("call", "nothing"), ("line", "nothing", 1), ("return", "nothing", None),
        *events[-1:],
    ]  # fmt: skip
    assert events[-1] == ("raise", outer)


@every_source
def test_no_lines_where_none_are_asked_for(kind: Any) -> None:
    assert told(kind, lambda: count(2), count, lines=False) == [("call", "count"), ("return", "count", 2)]


@every_source
@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize(
    ("function", "end"),
    [
        (nothing, ("return", None)),
        (fail, ("raise",)),
        (fail_below, ("raise",)),
        (catch, ("return", None)),
        (catch_in_one_line, ("return", None)),
        (catch_and_answer, ("return", 3)),
        (go_on_after_finally, ("raise",)),
        (go_on_after_with, ("raise",)),
        (raise_anew, ("raise",)),
        (exhaust, ("return", None)),
        (use_a_coroutine, ("return", 5)),
    ],
)
def test_how_a_call_ends(kind: Any, lines: bool, function: Any, end: tuple[Any, ...]) -> None:
    last = told(kind, function, function, lines=lines)[-1]
    assert last == (end[0], function.__name__, *end[1:])


@every_source
def test_an_exception_goes_on_as_it_was(kind: Any) -> None:
    seen = Seen(fail_below, fail)
    with pytest.raises(Failure) as raised, following(kind, seen):
        fail_below()
    assert [entry.name for entry in raised.traceback][-2:] == ["fail_below", "fail"]
    assert seen.calls == [("call", "fail_below"), ("call", "fail"), ("raise", "fail"), ("raise", "fail_below")]


@every_source
def test_recursion(kind: Any) -> None:
    seen = Seen(recurse, recurse_and_fail)
    with following(kind, seen):
        recurse(2)
        with contextlib.suppress(Failure):
            recurse_and_fail(2)
        recurse(0)
    returns = [("return", "recurse", n) for n in range(3)]
    failing = [(what, "recurse_and_fail") for what in ["call"] * 3 + ["raise"] * 3]
    assert seen.calls == [("call", "recurse")] * 3 + returns + failing + [("call", "recurse"), returns[0]]


@every_source
def test_what_is_not_wanted_is_asked_for_once_and_not_told(kind: Any) -> None:
    seen = Seen(use_inner_functions, use_a_coroutine)
    with following(kind, seen):
        for _ in range(3):
            assert use_inner_functions() == 5 and use_a_coroutine() == 5
    assert {name for _, name, *_ in seen.events} == {"use_inner_functions", "use_a_coroutine"}
    assert seen.asked["wait"] == seen.asked["generate"] == seen.asked["use_a_coroutine"] == 1


@every_source
def test_calls_below_a_frame_that_is_declined(kind: Any) -> None:
    seen = Seen(recurse, fail_below, fail, declined=("fail_below",))
    with following(kind, seen), contextlib.suppress(Failure):
        fail_below()
    assert seen.calls == [("call", "fail_below"), ("call", "fail"), ("raise", "fail")]
    assert ("line", "fail_below", 1) not in seen.events


@every_source
def test_a_frame_that_never_ends_hides_nothing_of_those_around_it(kind: Any) -> None:
    # GIVEN a generator that is followed against all advice, and left in the middle
    kept = []

    def around() -> int:
        kept.append(generate())
        next(kept[0])
        nothing()
        return 7

    seen = Seen(around, generate, nothing)
    with following(kind, seen):
        around()
        nothing()
    # THEN what it stood in still ends, and what comes later is told
    ended = [event for event in seen.calls if event[1] != "generate"]
    inner = [("call", "nothing"), ("return", "nothing", None)]
    assert ended == [("call", "around"), *inner, ("return", "around", 7), *inner]


@every_source
def test_only_between_start_and_stop(kind: Any) -> None:
    seen = Seen(count)
    source = kind(seen)
    count(1)
    for n in (2, 3):
        source.start()
        count(n)
        source.stop()
        count(4)
    source.close()
    count(5)
    assert [event for event in seen.events if event[0] == "return"] == [("return", "count", n) for n in (2, 3)]
    assert sys.gettrace() is None and sys.getprofile() is None


@every_source
def test_a_later_recording_sees_what_an_earlier_one_did_not_want(kind: Any) -> None:
    for _ in range(2):
        first = Seen(nothing)
        with following(kind, first):
            count(1)
            count(1)
        assert first.events == [] and first.asked["count"] == 1
        assert told(kind, lambda: count(0), count)[-1] == ("return", "count", 0)


@every_source
def test_nothing_is_kept_alive(kind: Any) -> None:
    class Thing:
        pass

    seen, alive = Seen(fail), []

    def local() -> None:
        thing = Thing()
        alive.append(weakref.ref(thing))
        with contextlib.suppress(Failure):
            fail()

    seen._codes.add(local.__code__)
    with following(kind, seen):
        local()
        gc.collect()
        assert alive[0]() is None
    assert ("raise", "fail") in seen.events


@every_source
def test_a_second_one_at_the_same_time(kind: Any) -> None:
    first, second = Seen(count), Seen(count)
    with following(kind, first):
        other = kind(second)
        # THEN only sys.monitoring has room for two
        assert other.start() is (kind is Monitoring)
        count(1)
        other.stop()
        other.close()
        count(1)
    assert first.calls == [("call", "count"), ("return", "count", 1)] * 2
    assert second.calls == ([("call", "count"), ("return", "count", 1)] if kind is Monitoring else [])


# -- threads --------------------------------------------------------------------------------------------


@needs_threads
@every_source
def test_each_thread_is_followed_on_its_own(kind: Any) -> None:
    seen, asides = Seen(recurse), []

    def beside() -> None:
        recurse(3)
        asides.append(list(seen.events))

    def alone() -> None:
        source.start()
        recurse(1)
        source.stop()
        recurse(2)
        asides.append(list(seen.events))

    with following(kind, seen) as source:
        in_a_thread(beside).join()
        recurse(0)
        in_a_thread(alone).join()
        recurse(0)
    calls = [[event for event in events if event[0] != "line"] for events in asides]
    returns = [("return", "recurse", n) for n in range(2)]
    assert calls == [[], [("call", "recurse")] * 2 + returns]
    assert seen.calls == [("call", "recurse"), ("return", "recurse", 0)] * 2


@needs_threads
@every_source
def test_threads_in_turns(kind: Any) -> None:
    # GIVEN a thread in the midst of a call, while another one goes through calls of its own
    seen = Seen(hold, count)
    results: list[Any] = []
    enter, go_on = threading.Event(), threading.Event()

    def work() -> None:
        source.start()
        results.append(hold(enter, go_on))
        source.stop()
        results.append(list(seen.calls))

    with following(kind, seen) as source:
        thread = in_a_thread(work)
        assert enter.wait(30)
        count(1)
        go_on.set()
        thread.join()
    # THEN each has its own order
    inner = [("call", "count"), ("return", "count", 2)]
    assert results == [2, [("call", "hold"), *inner, ("return", "hold", 2)]]
    assert seen.calls == [("call", "count"), ("return", "count", 1)]


@needs_threads
@every_source
def test_closed_in_the_midst_of_a_call_of_another_thread(kind: Any) -> None:
    seen = Seen(hold)
    results: list[Any] = []
    enter, go_on = threading.Event(), threading.Event()

    def work() -> None:
        source.start()
        results.append(hold(enter, go_on))
        nothing()  # a call, at which it notices
        results.append((sys.gettrace(), sys.getprofile()))

    with following(kind, seen) as source:
        thread = in_a_thread(work)
        assert enter.wait(30)
    go_on.set()
    thread.join()
    assert results == [2, (None, None)]
    assert "count" not in seen.asked or kind is Monitoring
