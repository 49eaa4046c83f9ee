"""Functions whose frames are followed, and what notes what it is told of them. Without torch."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

from tftrace.capture.watch.frames import Monitoring, Setprofile, Settrace


class InPython(Settrace):
    """As where nothing is compiled."""

    def __init__(self, follower: Any) -> None:
        super().__init__(follower)
        self.function, self.set = self._called, sys.settrace


MONITORING: Any = getattr(sys, "monitoring", None)
needs_monitoring = pytest.mark.skipif(MONITORING is None, reason="sys.monitoring came with Python 3.12")
needs_threads = pytest.mark.skipif(sys.platform in ("emscripten", "wasi"), reason="no threads on this platform")
SOURCES = [
    pytest.param(Settrace, id="settrace"),
    pytest.param(InPython, id="settrace in Python"),
    pytest.param(Monitoring, id="monitoring", marks=needs_monitoring),
    pytest.param(Setprofile, id="setprofile"),
]
every_source = pytest.mark.parametrize("kind", SOURCES)
with_lines = pytest.mark.parametrize("kind", SOURCES[:3])


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


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
