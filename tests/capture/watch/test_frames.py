"""Frames as the interpreter tells of them: the same of all three sources, as far as this Python has them.

No torch in here, so that the file also runs where there is none."""

from __future__ import annotations

import contextlib
import gc
import io
import pdb
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

from tftrace.capture.watch.frames import Monitoring, Setprofile, Settrace, source_of_frames

MONITORING: Any = getattr(sys, "monitoring", None)
needs_monitoring = pytest.mark.skipif(MONITORING is None, reason="sys.monitoring came with Python 3.12")
needs_threads = pytest.mark.skipif(sys.platform in ("emscripten", "wasi"), reason="no threads on this platform")
SOURCES = [
    pytest.param(Settrace, id="settrace"),
    pytest.param(Monitoring, id="monitoring", marks=needs_monitoring),
    pytest.param(Setprofile, id="setprofile"),
]
every_source = pytest.mark.parametrize("kind", SOURCES)
with_lines = pytest.mark.parametrize("kind", SOURCES[:2])


@pytest.fixture(autouse=True)
def _nobody_else() -> Iterator[None]:
    """A debugger or coverage tool that runs the tests waits meanwhile."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield
    sys.settrace(tracer)
    sys.setprofile(profiler)


class Seen:
    """Follows some functions and notes what it is told, for each thread on its own."""

    def __init__(self, *functions: Any, lines: bool = True, declined: tuple[str, ...] = ()) -> None:
        self.lines, self._declined = lines, declined
        self._codes = {function.__code__ for function in functions}
        self.asked: Counter[str] = Counter()
        self.by_thread: dict[int, list[Any]] = {}

    @property
    def events(self) -> list[Any]:
        return self.by_thread.setdefault(threading.get_ident(), [])

    @property
    def calls(self) -> list[Any]:
        """All but the lines."""
        return [event for event in self.events if event[0] != "line"]

    def wants(self, code: CodeType) -> bool:
        self.asked[code.co_name] += 1
        return code in self._codes

    def called(self, frame: FrameType) -> Noted | None:
        name = frame.f_code.co_name
        self.events.append(("call", name))
        return None if name in self._declined else Noted(self, name)


class Noted:
    """One frame of `Seen`. Lines count from the `def`."""

    def __init__(self, seen: Seen, name: str) -> None:
        self._seen, self._name = seen, name

    def line(self, frame: FrameType) -> None:
        assert frame.f_code.co_name == self._name
        self._seen.events.append(("line", self._name, frame.f_lineno - frame.f_code.co_firstlineno))

    def leave(self, frame: FrameType, value: Any, raised: bool) -> None:
        assert frame.f_code.co_name == self._name
        self._seen.events.append(("raise", self._name) if raised else ("return", self._name, value))


@contextlib.contextmanager
def following(kind: Any, seen: Seen) -> Iterator[Any]:
    source = kind(seen)
    assert source.start()
    try:
        yield source
    finally:
        source.stop()
        source.close()


def told(kind: Any, work: Callable[[], object], *functions: Any, lines: bool = True) -> list[Any]:
    """What is told of these functions while `work` runs."""
    seen = Seen(*functions, lines=lines)
    with following(kind, seen), contextlib.suppress(Failure):
        work()
    return seen.events


class Failure(BaseException):
    """Raised by functions below; a `BaseException`, as Ctrl-C is."""


# -- functions that are followed ----------------------------------------------------------------------


def count(n: int) -> int:
    total = 0
    while total < n:
        total += 1
    return total


def nothing() -> None:
    pass


def fail() -> None:
    raise Failure


def fail_below() -> int:
    fail()
    return 1


def catch() -> None:
    try:  # noqa: SIM105 - a return after an exception
        fail()
    except Failure:
        pass


def catch_in_one_line() -> None:
    with contextlib.suppress(Failure): fail()  # fmt: skip # noqa: E701


def catch_and_answer() -> int:
    try:
        raise Failure
    except Failure:
        return 3


def go_on_after_finally() -> None:
    try:
        fail()
    finally:
        nothing()


def go_on_after_with() -> None:
    with contextlib.suppress(ValueError):
        fail()


def raise_anew() -> None:
    try:
        raise ValueError
    except ValueError:
        raise Failure from None


class Three:
    def __init__(self) -> None:
        self.left = 3

    def __iter__(self) -> Three:
        return self

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.left


def exhaust() -> None:
    for _ in Three():
        pass


def recurse(n: int) -> int:
    if n == 0:
        return 0
    return 1 + recurse(n - 1)


def recurse_and_fail(n: int) -> None:
    if n == 0:
        raise Failure
    recurse_and_fail(n - 1)


def generate() -> Iterator[int]:
    yield 1
    yield 2


def use_inner_functions() -> int:
    def square(x: int) -> int:
        return x * x

    squares = [square(x) for x in range(3)]
    later = (square(x) for x in squares)
    return next(later) + next(generate()) + (lambda: 4)()


async def wait() -> int:
    return 5


def use_a_coroutine() -> int:
    coroutine = wait()
    try:
        coroutine.send(None)
    except StopIteration as end:
        return int(end.value)
    return 0


def hold(enter: threading.Event, go_on: threading.Event) -> int:
    enter.set()
    go_on.wait(30)
    return count(2)


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


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


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


# -- others who watch ------------------------------------------------------------------------------------


def test_a_tracer_that_takes_the_place_keeps_it() -> None:
    got = []

    def theirs(frame: FrameType, event: str, arg: Any) -> Any:
        got.append(frame.f_code.co_name)

    def takes_over() -> int:
        sys.settrace(theirs)
        return count(1)

    seen = Seen(takes_over, count)
    with following(Settrace, seen) as source:
        takes_over()
        assert sys.gettrace() is theirs
        source.stop()
        assert sys.gettrace() is theirs and not source.start()
        count(1)
    assert sys.gettrace() is theirs
    sys.settrace(None)
    assert got.count("count") == 2
    assert seen.calls == [("call", "takes_over"), ("return", "takes_over", 1)]  # our own frame goes on as it began


@every_source
@pytest.mark.parametrize("lines", [True, False])
def test_a_debugger_called_in_the_midst(kind: Any, lines: bool) -> None:
    shown = io.StringIO()

    def stops() -> int:
        debugger = pdb.Pdb(stdin=io.StringIO("next\nnext\nnext\ncontinue\n"), stdout=shown, nosigint=True, readrc=False)
        debugger.set_trace()
        first = 1
        second = first + 1
        third = second + 1
        return third

    seen = Seen(stops, count, lines=lines)
    with following(kind, seen) as source:
        assert stops() == 3
        assert sys.gettrace() is not source.function or kind is not Settrace
        # THEN `continue` has taken pdb away, and we can be back for the next forward
        source.stop()
        sys.settrace(None)
        assert source.start()
        count(1)
    # THEN it had its lines, one after the other
    after = shown.getvalue().split("-> ")
    assert any(part.startswith("third = second") for part in after), shown.getvalue()
    assert seen.calls[-2:] == [("call", "count"), ("return", "count", 1)]


@needs_monitoring
def test_a_tracer_of_others_sees_the_same_beside_sys_monitoring() -> None:
    def traced(seen: Seen | None) -> list[Any]:
        got = []

        def theirs(frame: FrameType, event: str, arg: Any) -> Any:
            if frame.f_code in (count.__code__, fail.__code__):
                got.append((event, frame.f_lineno))
            return theirs

        with following(Monitoring, seen) if seen else contextlib.nullcontext():
            sys.settrace(theirs)
            count(2)
            with contextlib.suppress(Failure):
                fail()
            sys.settrace(None)
        return got

    seen = Seen(count, fail)
    assert traced(seen) == traced(None) != []
    assert seen.calls == [("call", "count"), ("return", "count", 2), ("call", "fail"), ("raise", "fail")]
    assert ("line", "count", 4) in seen.events


@needs_monitoring
def test_a_tool_that_looks_at_each_line_once_as_coverage_does() -> None:
    api, tool = MONITORING, MONITORING.COVERAGE_ID

    def covered(seen: Seen | None) -> list[int]:
        got = []

        def line(code: CodeType, number: int) -> Any:
            got.append(number - code.co_firstlineno)
            return api.DISABLE

        api.use_tool_id(tool, "coverage")
        try:
            api.register_callback(tool, api.events.LINE, line)
            with following(Monitoring, seen) if seen else contextlib.nullcontext():
                api.set_local_events(tool, count.__code__, api.events.LINE)
                api.restart_events()
                count(2)
                count(2)
            count(2)
            assert api.get_local_events(tool, count.__code__) == api.events.LINE
            assert api.get_tool(tool) == "coverage"
        finally:
            api.set_local_events(tool, count.__code__, 0)
            api.free_tool_id(tool)
        return got

    seen = Seen(count)
    assert covered(seen) == covered(None) and len(seen.events) == 2 * 9


@contextlib.contextmanager
def places_taken(*places: int) -> Iterator[None]:
    taken = [place for place in places if MONITORING.get_tool(place) is None]
    for place in taken:
        MONITORING.use_tool_id(place, "somebody")
    yield
    for place in taken:
        MONITORING.free_tool_id(place)


@needs_monitoring
def test_the_place_is_given_back_as_it_was() -> None:
    api = MONITORING
    tools = [api.get_tool(place) for place in range(6)]
    with following(Monitoring, Seen(count)):
        count(1)
        [place] = [p for p in range(6) if api.get_tool(p) != tools[p]]
    assert [api.get_tool(p) for p in range(6)] == tools
    api.use_tool_id(place, "next")
    try:
        assert api.get_events(place) == api.get_local_events(place, count.__code__) == 0
        assert all(api.register_callback(place, 1 << at, None) is None for at in range(10))
    finally:
        api.free_tool_id(place)


@needs_monitoring
def test_another_place_is_found_or_said_to_be_missing() -> None:
    with places_taken(4, 3):
        assert told(Monitoring, lambda: count(0), count)[-1] == ("return", "count", 0)
    with places_taken(*range(6)):
        source = Monitoring(Seen(count))
        assert not source.free and not source.start()
        count(1)
        source.close()
        # THEN there is still sys.settrace
        found, lost = source_of_frames(Seen(count))
        assert isinstance(found, Settrace) and lost == []
    assert source.free


@pytest.mark.parametrize("lines", [True, False])
def test_the_source_that_is_free(lines: bool) -> None:
    def theirs(*_: Any) -> None:
        return None

    def found() -> tuple[Any, list[str]]:
        source, lost = source_of_frames(Seen(lines=lines))
        return type(source), lost

    with places_taken(*range(6)) if MONITORING else contextlib.nullcontext():
        assert found() == (Settrace, [])
        sys.settrace(theirs)
        kind, lost = found()
        assert kind is Setprofile and len(lost) == lines
        assert all("test_frames" in text and "lines are not recorded" in text for text in lost)
        sys.setprofile(theirs)
        kind, lost = found()
        assert kind is type(None) and "lines and functions are not recorded" in lost[0]
    sys.settrace(theirs)
    assert found()[0] is (Monitoring if MONITORING else type(None))
