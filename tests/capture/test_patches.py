"""What recordings replace in torch is put back in whatever order they end, and whoever else patches it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import tftrace
from tftrace.capture import patches

from ..support.interrupted import changed, replaceable
from ..support.odd import Twice, names, whole


class Saves(nn.Module):
    """Computes its parts again in the backward pass, in both ways that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = checkpoint(self.first, x, use_reentrant=True)
        return checkpoint(self.last, hidden, use_reentrant=False)


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """Every order in which so many recordings may begin and end: a number is first its begin, then its end."""
    yield from sorted(set(itertools.permutations([*range(count), *range(count)])))


@pytest.fixture(autouse=True, scope="module")
def _begun() -> None:
    """What torch does to itself the first time is done."""
    torch.compile(Twice(), backend="eager")(torch.ones(2))


@pytest.fixture(autouse=True)
def _as_before(_begun: None) -> Iterator[None]:
    """Each test leaves torch as it was, whatever it did."""
    Saves()(torch.ones(1, 4, requires_grad=True)).sum().backward()
    before = replaceable()
    yield
    assert changed(before, replaceable()) == [] and patches.replaced() == []


def ran(model: nn.Module) -> None:
    model(torch.ones(1, 4, requires_grad=True)).sum().backward()


def overlapping(order: tuple[int, ...], new: Callable[[int], Any], run: Callable[[], None]) -> list[tuple[Any, int]]:
    """Let recordings begin and end in an order, and run between; their traces, and how often it ran in each."""
    running: dict[int, Any] = {}
    runs: dict[int, int] = {}
    traces: dict[int, Any] = {}
    for number in order:
        if number in running:
            running.pop(number).__exit__(None, None, None)
        else:
            running[number] = new(number)
            traces[number] = running[number].__enter__()
        run()
        runs |= {n: runs.get(n, 0) + 1 for n in running}
    return [(traces[n], runs[n]) for n in traces if n in runs]


@pytest.mark.parametrize("order", [*orders(2), *orders(3)], ids=lambda order: "".join(map(str, order)))
def test_recordings_overlap_in_every_order(order: tuple[int, ...]) -> None:
    model = Saves()
    ways: list[dict[str, Any]] = [{"model": model}, {}, {"model": model}]
    found = overlapping(order, lambda n: tftrace.record(level="modules", **ways[n]), lambda: ran(model))
    assert found
    for trace, runs in found:
        steps = list(whole(trace))
        # THEN each has seen every call while it ran, and what was computed again
        roots = [step.name for step in steps if step.depth == 0 and step.kind == "module"]
        assert roots == [steps[0].name] * runs
        assert [step.name for step in steps if step.type == "torch.utils.checkpoint"] == ["recompute"] * 2 * runs


@pytest.mark.parametrize("order", orders(2), ids=lambda order: "".join(map(str, order)))
def test_what_is_compiled_is_compiled_again_after_the_last(order: tuple[int, ...]) -> None:
    torch._dynamo.reset()
    model: Any = Twice()
    compiled: Any = torch.compile(model, backend="eager")
    with pytest.warns(UserWarning, match="eagerly"):
        found = overlapping(order, lambda n: tftrace.record(model, level="modules"), lambda: compiled(torch.ones(2)))
    for trace, runs in found:
        assert names(whole(trace)) == [""] * runs
    torch._dynamo.reset()


def foreign(inner: Callable[..., Any], seen: list[str]) -> Callable[..., Any]:
    """Somebody's patch of the calls of all modules."""

    @wraps(inner)
    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        seen.append(type(module).__name__)
        return inner(module, *args, **kwargs)

    return call


def patched(seen: list[str]) -> Callable[[], None]:
    """Put somebody's patch on; what takes it off again."""
    kind: Any = nn.Module
    before = kind._call_impl
    kind._call_impl = foreign(before, seen)
    return lambda: setattr(kind, "_call_impl", before)


def test_a_patch_that_was_there_before_is_called() -> None:
    model = Twice()
    seen: list[str] = []
    restore = patched(seen)
    theirs = vars(nn.Module)["_call_impl"]
    with tftrace.record(model) as trace:
        model(torch.ones(2))
    assert names(trace) == [""] and seen == ["Twice"]
    assert vars(nn.Module)["_call_impl"] is theirs
    model(torch.ones(2))
    assert names(trace) == [""] and seen == ["Twice"] * 2
    restore()


@pytest.mark.parametrize("again", [False, True])
def test_a_patch_that_came_meanwhile_stays(again: bool) -> None:
    model = Twice()
    seen: list[str] = []
    with tftrace.record(model) as trace:
        restore = patched(seen)
        theirs = vars(nn.Module)["_call_impl"]
        model(torch.ones(2))
    assert names(trace) == [""] and seen == ["Twice"]
    # THEN theirs stays and works, and ours only passes on
    assert vars(nn.Module)["_call_impl"] is theirs and patches.replaced() == []
    model(torch.ones(2))
    assert names(trace) == [""] and seen == ["Twice"] * 2
    if again:
        with tftrace.record(model) as trace:
            model(torch.ones(2))
            restore()  # which puts back what we had there in the first recording
            model(torch.ones(2))
            model(torch.ones(2))
        assert names(trace) == ["", "", ""] and seen == ["Twice"] * 3
    else:
        restore()
    # THEN the next call takes away what of ours they put back
    model(torch.ones(2))
    assert len(names(trace)) == 1 + 2 * again and len(seen) == 2 + again


def test_a_patch_that_goes_meanwhile_takes_nothing_of_the_next_recording() -> None:
    model = Twice()
    seen: list[str] = []
    restore = patched(seen)
    with tftrace.record(model):
        model(torch.ones(2))
        restore()
    with tftrace.record(model) as trace:
        model(torch.ones(2))
    assert names(trace) == [""] and seen == ["Twice"]


def test_a_stance_that_was_taken_meanwhile_stays() -> None:
    model: Any = Twice()
    model.compile(backend="eager")
    before = torch._dynamo.eval_frame._stance
    with pytest.warns(UserWarning, match="eagerly"), tftrace.record(model):
        model(torch.ones(2))
        torch.compiler.set_stance("fail_on_recompile")
    assert torch._dynamo.eval_frame._stance.stance == "fail_on_recompile"
    torch._dynamo.eval_frame._stance = before
