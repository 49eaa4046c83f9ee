"""A model that runs at the limit of Python's stack is recorded whole, and one that never ends still meets the limit."""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.depth import take

from ..support.odd import Same, modules, names, parents, whole

LEVELS = ["modules", "functions", "lines", "ops"]


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        y = x + 1
        return self.inner(y)


def hooked(inner: nn.Module) -> nn.Module:
    model = Around(inner)
    model.register_forward_pre_hook(lambda module, given: None)
    model.register_forward_hook(lambda module, given, result: None)
    return model


KINDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "own forward": Around,
    "Sequential": lambda inner: nn.Sequential(inner),
    "with hooks": hooked,
}
X = torch.ones(1, 2)


def nested(kind: str, depth: int) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = nn.Linear(2, 2)
    for _ in range(depth):
        model = KINDS[kind](model)
    return model


def deepest(call: Callable[[int], Any], most: int = 1000) -> int:
    """The largest number with which this runs in the stack that there is."""
    least = 1
    while least < most:
        middle = (least + most + 1) // 2
        try:
            call(middle)
            least = middle
        except RecursionError:
            most = middle - 1
    return least


@pytest.fixture(autouse=True)
def limit() -> Iterator[int]:
    """The interpreter's limit, which is what it was when a recording has ended."""
    limit = sys.getrecursionlimit()
    gc.collect()
    gc.disable()  # what an earlier test has left would run its finalizers where no room is left
    yield limit
    gc.enable()
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_just_runs_is_recorded_whole(kind: str, level: str) -> None:
    depth = deepest(lambda n: nested(kind, n)(X)) - 2  # `with` and what is called below it
    model = nested(kind, depth)
    bare = model(X)
    with tftrace.record(model, level=level, values="all") as trace:
        recorded = model(X)
    assert torch.equal(recorded, bare)
    found = modules(whole(trace))
    for above, step in itertools.pairwise(found):
        assert next(p for p in parents(step) if p.kind == "module").step == above.step
    assert len(found) == depth + 1 and {step.status for step in trace} == {"returned"} and trace.missing == []
    assert {c.verdict for step in trace for c in step.checks} == (set() if level == "modules" else {"holds"})


@pytest.mark.parametrize("inner", LEVELS)
def test_several_recordings_take_no_more(inner: str) -> None:
    depth = deepest(lambda n: nested("own forward", n)(X)) - 4
    model = nested("own forward", depth)
    with ExitStack() as stack:
        outer = stack.enter_context(tftrace.record(level="modules"))
        traces = [stack.enter_context(tftrace.record(model, level=level)) for level in ("modules", inner)]
        model(X)
    assert [len(modules(whole(trace))) for trace in (outer, *traces)] == [depth + 1] * 3


class Endless(nn.Module):
    """Calls itself, or a method of its own, again and again."""

    def __init__(self, method: bool) -> None:
        super().__init__()
        self.part, self.method, self.calls = Same(), method, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.part(x)
        return self.again(x) if self.method else self(x)

    def again(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.again(x)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("method", [False, True])
def test_what_never_ends_meets_the_limit(method: bool, level: str) -> None:
    bare, model = Endless(method), Endless(method)
    with pytest.raises(RecursionError):
        bare(X)
    with tftrace.record(model, level=level) as trace, suppress(RecursionError):
        model(X)
    # THEN hardly later than without a recording
    assert bare.calls <= model.calls + 4 and model.calls < 1.2 * bare.calls
    # AND what ran is in the trace
    found = modules(whole(trace))
    assert (found[0].status, found[1].status) == ("raised", "returned")
    assert method or len(found) >= 2 * bare.calls - 8
    assert set(trace.missing) <= {"Python's stack was nearly full: steps of the innermost calls are missing."}
    # AND the next one is recorded as ever
    with tftrace.record(again := nn.Sequential(Same()), level=level) as trace:
        again(X)
    assert names(whole(trace)) == ["", "0"]


def test_a_thread_that_ended_needs_no_room() -> None:
    before = sys.getrecursionlimit()
    thread = threading.Thread(target=take, args=(500,))  # as one whose forward was still recorded when it was killed
    thread.start()
    thread.join()
    assert sys.getrecursionlimit() == before


def test_threads_have_room_of_their_own() -> None:
    # GIVEN that a thread of pytest's is deeper than a new one
    depth = deepest(lambda n: nested("own forward", n)(X))
    model, failed = nested("own forward", depth), list[BaseException]()

    def run() -> None:
        try:
            for _ in range(3):
                model(X)
        except BaseException as error:
            failed.append(error)

    with tftrace.record(model, level="modules") as trace:
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == [] and len(whole(trace)) == 12 * (depth + 1)


class Sets(nn.Module):
    """Sets the limit, for as long as a part of it runs or for good."""

    def __init__(self, inner: nn.Module, limit: int, back: bool) -> None:
        super().__init__()
        self.inner, self.limit, self.back = inner, limit, back

    def forward(self, x: torch.Tensor) -> Any:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(self.limit)
        result = self.inner(x)
        if self.back:
            sys.setrecursionlimit(before)
        return result


@pytest.mark.parametrize("back", [True, False])
def test_a_limit_that_the_model_sets_holds(back: bool, limit: int) -> None:
    model = nn.Sequential(Sets(nested("own forward", 100), 5000, back), nested("own forward", 100))
    try:
        with tftrace.record(model, level="modules") as trace:
            model(X)
        assert sys.getrecursionlimit() == (limit if back else 5000)
    finally:
        sys.setrecursionlimit(limit)
    assert len(whole(trace)) == 204


def test_a_traced_function_that_calls_itself() -> None:
    def count(n: int) -> torch.Tensor:
        return count(n - 1) + 1 if n else torch.zeros(())

    depth = deepest(count) // 2
    count = tftrace.traced(level="functions")(count)
    assert count(depth) == depth
    assert count.trace.meta.get("failure") is None and len(count.trace) == depth + 1  # type: ignore[attr-defined]


def test_containers_as_deep_as_torch_walks() -> None:
    class Holds(nn.Module):
        """Its parts are inside each other but called one after the other."""

        def __init__(self, depth: int) -> None:
            super().__init__()
            self.parts = [nn.Linear(2, 2) for _ in range(depth)]
            above: nn.Module = self
            for part in self.parts:
                above.add_module("below", part)
                above = part

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for part in self.parts:
                x = part(x)
            return x

    depth = deepest(lambda n: list(Holds(n).named_modules())) - 10
    model = Holds(depth)
    with torch.no_grad():
        bare = model(X)
        with tftrace.record(model, level="modules") as trace:
            assert torch.equal(model(X), bare)
    assert len(whole(trace)) == depth + 1


def test_what_is_passed_around_may_be_nested_as_deep() -> None:
    value: Any = X
    for _ in range(5000):
        value = [value]
    with tftrace.record(model := Same(), level="lines") as trace:
        assert model(value) is value
    assert names(whole(trace)) == [""]
