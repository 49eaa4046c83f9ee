"""Frames are followed beside other tools: tracers, debuggers, profilers and coverage."""

from __future__ import annotations

import contextlib
import io
import pdb
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

from tftrace.capture.watch.frames import Monitoring, Setprofile, Settrace, source_of_frames

from ...support.followed import MONITORING, Failure, Seen, count, every_source, fail, following, needs_monitoring, told

pytestmark = pytest.mark.usefixtures("nobody_else")


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
        assert sys.gettrace() is not source.function or not issubclass(kind, Settrace)
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
