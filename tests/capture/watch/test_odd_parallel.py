"""Several recordings, threads and copies: how each is recorded, and that it is not affected."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import tftrace

from ...support.bits import hooks, imprint, same, surroundings
from ...support.odd import LEVELS, NET, Chain, Net, names, whole


@pytest.mark.parametrize("outer_level", LEVELS)
@pytest.mark.parametrize("inner_level", LEVELS)
def test_two_recordings_of_one_model(outer_level: str, inner_level: str) -> None:
    model, x = Net().eval(), torch.randn(2, 4)
    before, around = imprint(model), surroundings()
    bare = model(x)
    with tftrace.record(model, level=outer_level) as alone:
        model(x)
    with tftrace.record(model, level=outer_level) as outer:
        with tftrace.record(model, level=inner_level) as inner:
            assert torch.equal(model(x), bare)
        assert torch.equal(model(x), bare)
    assert imprint(model) == before and surroundings() == around
    assert names(whole(inner)) == NET and names(whole(outer)) == NET * 2
    if inner_level != "modules":
        assert {step.kind for step in inner} >= {"module", "line" if inner_level == "lines" else "module"}
    # THEN what the outer one could not follow meanwhile is said
    if len(outer) != 2 * len(alone):
        assert outer.meta["lost"]
    assert [s.name for s in outer if s.forward == 1] == [s.name for s in alone]


class Meets(nn.Module):
    """Waits until another thread is here as well."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.barrier is not None:
            self.barrier.wait(20)
        return x * 1


def in_threads(*works: Callable[[], Any]) -> None:
    failed: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            with torch.no_grad():  # which is each thread's own
                work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def tree_of(steps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The steps of one forward, each with the place of its parent among them."""
    place = {step["step"]: at for at, step in enumerate(steps)}
    what = ("kind", "name", "type", "depth", "line", "occurrence", "status")
    return [(place.get(step["parent"], step["parent"]), *(step[key] for key in what)) for step in steps]


def forwards_of(trace: tftrace.Trace) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for step in trace.steps.to_pylist():
        found.setdefault(step["forward"], []).append(step)
    return found


def threaded(level: str, times: int, threads: int = 2) -> tftrace.Trace:
    """A trace of threads that call one model and meet in the middle of each forward."""
    model, barrier = Chain(Meets(), Chain(Meets(), Meets()), Meets()), threading.Barrier(threads)
    for part in model.modules():
        if isinstance(part, Meets):
            part.barrier = barrier

    def run(value: float) -> None:
        for _ in range(times):
            assert torch.equal(model(torch.full((2,), value)), torch.full((2,), value))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with tftrace.record(model, level=level) as trace:
            in_threads(*((lambda value=float(n + 1): run(value)) for n in range(threads)))
    finally:
        sys.setswitchinterval(interval)
    assert hooks(model) == 0
    return whole(trace)


@pytest.mark.parametrize(("level", "times"), [("modules", 100), ("lines", 40)])
def test_two_threads_call_one_model(level: str, times: int) -> None:
    (alone,) = forwards_of(threaded(level, 1, threads=1)).values()
    trace = threaded(level, times)
    forwards = forwards_of(trace)
    assert sorted(forwards) == list(range(2 * times))
    for steps in forwards.values():
        # THEN in each forward every step stands where it stands in a forward alone
        assert tree_of(steps) == tree_of(alone)
    # AND each forward saw the tensors of its own thread only
    forward = dict(zip(trace.column("step").tolist(), trace.column("forward").tolist(), strict=True))
    values: dict[int, set[float]] = {n: set() for n in forwards}
    for row in trace.tensors.to_pylist():
        values[forward[row["step"]]].add(row["mean"])
    assert Counter(tuple(v) for v in values.values()) == {(1.0,): times, (2.0,): times}


def test_the_tree_of_a_trace_of_two_threads_is_that_of_its_table() -> None:
    trace = threaded("lines", 5)
    assert (trace.column("step")[1:] < trace.column("step")[:-1]).any()  # they were interleaved …
    assert (trace.column("forward")[1:] >= trace.column("forward")[:-1]).all()  # … and each stands in one piece
    for step in trace:
        assert (None if step.parent is None else step.parent.step) == step.parent_step
        assert [child.parent_step for child in step.children] == [step.step] * len(step.children)


def replica_of(model: nn.Module, scale: float) -> nn.Module:
    """A copy as nn.DataParallel makes it: the modules copied shallowly, the parameters set as plain tensors."""
    copies: dict[nn.Module, nn.Module] = {module: module._replicate_for_data_parallel() for module in model.modules()}
    for module, twin in copies.items():
        for name, child in module._modules.items():
            if child is not None:
                setattr(twin, name, copies[child])
        for name, parameter in module._parameters.items():
            if parameter is not None:
                setattr(twin, name, parameter.detach() * scale)
    return copies[model]


class Parallel(nn.Module):
    """nn.DataParallel in small: copies of a module, each with weights of its own, run in threads."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: dict[int, torch.Tensor] = {}
        twins = [replica_of(self.module, scale) for scale in (1.0, 2.0)]

        def run(at: int) -> None:
            found[at] = twins[at](x)

        in_threads(*((lambda at=at: run(at)) for at in range(2)))
        return torch.stack([found[0], found[1]])


@pytest.mark.parametrize("level", LEVELS)
def test_copies_of_a_model_in_threads(level: str) -> None:
    model, x = Parallel(Net().eval()), torch.randn(2, 4)
    with torch.no_grad():
        bare = model(x)
        assert not torch.equal(bare[0], bare[1])
        with tftrace.record(model, level=level) as trace:
            recorded = model(x)
    assert torch.equal(recorded, bare)
    expected = Counter({"": 1} | {f"module.{name}".rstrip("."): 2 for name in NET})
    assert Counter(names(whole(trace))) == expected
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    for step in steps.values():
        if step["name"].startswith("module.") and step["kind"] == "module":
            assert steps[step["parent"]]["name"] == "module"


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.fixture
def only_new() -> Iterator[None]:
    """What was there before is left out of `gc.get_objects`: of a whole test run that is millions."""
    gc.freeze()
    yield
    gc.unfreeze()


def objects_of_ours() -> Counter[type]:
    gc.collect()
    found = Counter(type(o) for o in gc.get_objects())
    ours = (kind for kind in found if str(vars(kind).get("__module__")).startswith("tftrace."))
    return Counter({kind: found[kind] for kind in ours})


@pytest.mark.usefixtures("only_new")
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("level", LEVELS)
def test_a_copy_made_during_the_recording(way: str, level: str) -> None:
    model, x = Net().eval(), torch.randn(2, 4)
    bare = model(x)
    with tftrace.record(model, level=level) as trace:
        model(x)
        single = {kind for kind, count in objects_of_ours().items() if count == 1}
        twin = COPIES[way](model)
        after = objects_of_ours()
        assert single and {after[kind] for kind in single} == {1}  # the recording was not copied
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(twin(x), bare)
    assert names(whole(trace)) == NET
    # THEN the copy is an ordinary model
    with tftrace.record(twin, level=level) as again:
        assert torch.equal(twin(x), bare)
    assert names(whole(again)) == NET
    left = [hook for m in twin.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert not [hook for hook in left if type(hook).__module__.startswith("tftrace")]  # those that are left do nothing


def test_weights_saved_during_the_recording() -> None:
    model, buffer = Net().eval(), io.BytesIO()
    with tftrace.record(model) as trace:
        model(torch.randn(2, 4))
        torch.save(model.state_dict(), buffer)
        pickled = pickle.dumps(model.state_dict())
        loaded = Net()
        loaded.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert list(pickle.loads(pickled)) == list(Net().state_dict())
    assert same(loaded.state_dict(), model.state_dict()) and names(whole(trace)) == NET
