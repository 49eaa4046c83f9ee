"""Several threads run models inside one recording: each gets a tree of its own, and nothing is lost."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture import recording
from tftrace.capture.measure import stats, summaries
from tftrace.capture.measure.stats import summarize

pytestmark = pytest.mark.usefixtures("often", "no_grad")


@pytest.fixture
def often() -> Iterator[None]:
    """Threads take turns a hundred times as often as they would."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(*work: Callable[[], object]) -> None:
    """Run all of them at once; what one raises is raised here."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        try:
            together.wait(60)
            with torch.no_grad():  # it is a setting of the thread
                one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def trees(trace: tftrace.Trace) -> list[str]:
    """Each forward as a tree, without what is counted over all of them."""
    forwards: dict[int, list[Any]] = {}
    for step in sorted(trace, key=lambda step: step.step):
        forwards.setdefault(step.forward, []).append(step)
    found = []
    for _, steps in sorted(forwards.items()):
        position = {step.step: at for at, step in enumerate(steps)}
        tree: list[Any] = []
        for step in steps:
            tensors = [(t.role, t.name, t.shape) for t in step.tensors if t.role != "parameter"]
            own = (step.depth, step.kind, step.name, step.type, step.occurrence, step.status)
            called = (None, None) if step.parent is None else (position[step.parent.step], step.line)
            tree.append((*called, own, tensors))
        found.append(repr(tree))
    return found


def verdicts(trace: tftrace.Trace) -> Counter[Any]:
    return Counter(zip(*(trace.checks[name].to_pylist() for name in ("equation", "verdict", "reason")), strict=True))


def assert_whole(trace: tftrace.Trace, alone: list[tftrace.Trace], forwards: int) -> None:
    """Each forward of `trace` is the first of one of `alone`, and there are as many of each."""
    assert "failure" not in trace.meta and not trace.meta["lost"] and trace.meta["complete"]
    assert Counter(trees(trace)) == Counter([trees(one)[0] for one in alone] * forwards)
    expected: Counter[Any] = Counter()
    for one in alone:
        for key, number in verdicts(one).items():
            expected[key] += number * forwards
    assert verdicts(trace) == expected


class Tower(nn.Module):
    """A model with a loop, a function past a hook, and an exception that it handles."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
            x = self.again(x)
        try:
            self.fail(x)
        except ValueError:
            x = self.norm(x)
        return x

    def again(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        return y + 1

    def fail(self, x: torch.Tensor) -> None:
        raise ValueError


def first(model: Any, inputs: dict[str, Any]) -> tftrace.Trace:
    with tftrace.record(model) as trace:
        model(**inputs)
    return trace


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("same", [True, False])
def test_towers(threads: int, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_STEPS", 500)  # written in the midst as well
    monkeypatch.setattr(recording, "_NANOSECONDS", 1 << 62)
    models = [Tower(2)] * threads if same else [Tower(layers + 1) for layers in range(threads)]
    inputs = {"x": torch.randn(3, 8)}
    alone = [first(model, inputs) for model in models]

    def work(model: nn.Module) -> Callable[[], None]:
        return lambda: [model(**inputs) for _ in range(50)].clear()

    with tftrace.record(list(models) if not same else models[0]) as trace:
        in_threads(*(work(model) for model in models))
    if same:
        assert_whole(trace, alone, 50)
    else:
        # THEN the paths begin with the model's number, and those of each model are as many as alone
        assert "failure" not in trace.meta
        names = Counter((step.name.split(".")[0], step.status) for step in trace)
        for at, one in enumerate(alone):
            statuses = Counter(step.status for step in one)
            assert {status: names[str(at), status] for status in statuses} == {s: 50 * n for s, n in statuses.items()}
        assert all(step.parent is None or step.parent.name[0] == step.name[0] for step in trace)


def test_transformers(family: Any) -> None:
    model, inputs = family("gpt2")
    alone = first(model, inputs)
    with tftrace.record(model) as trace:
        in_threads(*[lambda: [model(**inputs) for _ in range(10)].clear()] * 3)
    assert_whole(trace, [alone] * 3, 10)


def test_a_module_whose_arguments_are_changed_by_a_hook_of_its_own() -> None:
    # GIVEN a module that several threads are in at the same time, for its hook waits
    model, together = nn.Sequential(nn.Linear(8, 8)), threading.Barrier(3)

    def meet(module: nn.Module, args: Any) -> Any:
        together.wait(60)
        return (args[0] * threading.get_ident(),)

    model[0].register_forward_pre_hook(meet)
    with tftrace.record(model, level="modules") as trace:
        in_threads(*[lambda: [model(torch.ones(1, 8)) for _ in range(10)].clear()] * 3)
    assert [step.status for step in trace] == ["returned"] * 60
    assert [len(step.children) for step in trace] == [1, 0] * 30


def test_a_thread_that_has_ended_leaves_nothing() -> None:
    model = Tower(1)
    recorder = tftrace.record(model)
    with recorder as trace:
        for _ in range(5):
            in_threads(*[lambda: model(torch.ones(1, 8))] * 2)
        inner = recorder._recording
        assert inner is not None and not inner._running
    assert int(trace.column("forward").max()) == 9


def test_a_failure_in_one_thread_ends_the_recording_once(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    model, calls = Tower(2), itertools.count()

    def break_later(tensor: torch.Tensor) -> Any:
        if next(calls) > 200:
            raise MemoryError("no room")
        return summarize(tensor)

    monkeypatch.setattr(summaries, "plain_summary", break_later)
    monkeypatch.setattr(stats, "compiled", None)
    expected = model(torch.ones(1, 8))
    results: list[torch.Tensor] = []
    with tftrace.record(model) as trace:
        in_threads(*[lambda: results.extend(model(torch.ones(1, 8)) for _ in range(20))] * 4)
    assert len(results) == 80 and all(torch.equal(result, expected) for result in results)
    assert len([one for one in recwarn if "stopped recording" in str(one.message)]) == 1
    assert "MemoryError" in trace.meta["failure"] and len(tftrace.load(trace.path)) > 10


def test_a_thread_that_runs_on_when_the_recording_ends(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(recording, "_FORWARDS", 1)  # each forward is written as it ends
    model, entered, go_on = Tower(2), threading.Event(), threading.Event()
    results: list[Any] = []

    def wait(module: nn.Module, args: Any) -> None:
        entered.set()
        go_on.wait(60)

    def work() -> None:
        with torch.no_grad():
            results.append(model(torch.ones(1, 8)))
            results.append(model(torch.ones(1, 8)))
        results.append((sys.gettrace(), sys.getprofile()))

    expected = model(torch.ones(1, 8))
    handle = model.norm.register_forward_pre_hook(wait)
    with tftrace.record(model) as trace:
        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(60)
    steps = len(trace)
    go_on.set()
    thread.join()
    handle.remove()
    assert torch.equal(results[0], expected) and torch.equal(results[1], expected) and results[2] == (None, None)
    ours = [one for one in recwarn if not issubclass(one.category, ResourceWarning)]  # of folders of other tests
    assert not [str(one.message) for one in ours if "tftrace" in str(one.message)]
    assert "failure" not in trace.meta and trace.meta["complete"]
    assert len(tftrace.load(trace.path)) == steps > 10
    assert [step.status for step in trace if step.parent is None] == ["open"]
