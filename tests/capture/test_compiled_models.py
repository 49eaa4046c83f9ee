"""What torch.compile was applied to is recorded eagerly, in whatever way it was compiled, and stays compiled."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.watch.compiled import SAID, UNSEEN

from ..support.interrupted import changed, replaceable
from ..support.odd import LEVELS, NET, Net, names, whole

INDUCTOR = pytest.param(
    "inductor",
    marks=[pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")],
)
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Around(nn.Module):
    """A model that has the one that is recorded inside."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> Any:
        return self.inside(x) * 2


def wrapped(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    return model, torch.compile(model, backend=backend)


def in_place(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    model.compile(backend=backend)
    return model, model


def wrapped_around(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    return model, torch.compile(Around(model), backend=backend)


def in_place_around(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    around: Any = Around(model)
    around.compile(backend=backend)
    return model, around


def of_the_wrapper(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    compiled: Any = torch.compile(model, backend=backend)
    return compiled, compiled


def inside(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    compiled: Any = torch.compile(model, backend=backend)
    around: Any = Around(compiled)
    return around, around


def inside_in_place(model: Any, backend: str) -> tuple[Any, Callable[..., Any]]:
    model.compile(backend=backend)
    around = Around(model)
    return around, around


# How a model is compiled, and what stands before the names of its modules.
WAYS: dict[Callable[[Any, str], tuple[Any, Callable[..., Any]]], str] = {
    wrapped: "",
    in_place: "",
    wrapped_around: "",
    in_place_around: "",
    of_the_wrapper: "_orig_mod",
    inside: "inside._orig_mod",
    inside_in_place: "inside",
}


@pytest.fixture(autouse=True)
def _compiler() -> Iterator[None]:
    torch._dynamo.reset()
    torch.compile(nn.ReLU(), backend="eager")(X)  # what torch does to itself the first time
    before = replaceable()
    yield
    assert changed(before, replaceable()) == []
    torch._dynamo.reset()


def called(trace: Any, prefix: str) -> list[str]:
    """The modules of the net that were called."""
    found = [name for name in names(whole(trace)) if name == prefix or name.startswith(f"{prefix}." if prefix else "")]
    return [name.removeprefix(prefix).lstrip(".") for name in found]


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager", INDUCTOR])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_it_is_recorded_eagerly_and_stays_compiled(way: Any, backend: str, warm: bool) -> None:
    net = Net().eval()
    model, call = way(net, backend)
    if warm:
        call(X)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tftrace.record(model) as trace:
            recorded = [call(X), call(X)]
    ours = [str(w.message) for w in said if "tftrace" in str(w.message) and w.category is not ResourceWarning]
    assert ours == [SAID]  # ResourceWarning: Python may collect an older trace just then
    assert called(trace, WAYS[way]) == NET * 2
    eager = net.last(net.act(net.first(X))) * (2 if "around" in way.__name__ or "inside" in way.__name__ else 1)
    assert torch.equal(recorded[0], eager) and torch.equal(recorded[1], eager)
    # THEN it is compiled as it was
    frames = torch._dynamo.utils.counters["frames"]["total"]
    torch.testing.assert_close(call(X), eager)
    assert (torch._dynamo.utils.counters["frames"]["total"] > frames) is not warm
    assert len(trace) == len(tftrace.load(trace.path))


@pytest.mark.parametrize("level", ["modules", "ops"])
def test_at_other_levels(level: str) -> None:
    model, call = wrapped(Net().eval(), "aot_eager")
    with tftrace.record(model, level=level) as trace:
        call(X)
    assert called(trace, "") == NET


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_program_is_seen_inside(way: Any) -> None:
    _, call = way(Net().eval(), "aot_eager")
    call(X)
    with tftrace.record() as trace:
        call(X)
    inner = [name.rpartition(".")[2] for name in names(whole(trace))]
    assert inner[-4:] == NET[1:] and len([step for step in trace if step.parent is None]) == 1


@pytest.mark.parametrize("way", [wrapped, in_place], ids=lambda way: way.__name__)
def test_what_is_compiled_meanwhile(way: Any) -> None:
    net = Net().eval()
    with pytest.warns(UserWarning, match="eagerly"), tftrace.record(net) as trace:
        _, call = way(net, "aot_eager")
        recorded = call(X)
    assert called(trace, "") == NET
    torch.testing.assert_close(call(X), recorded)
    assert len(names(trace)) == len(NET)


def test_what_has_nothing_to_do_with_the_model_stays_compiled() -> None:
    ran = []

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        return lambda *args: ran.append(graph) or graph(*args)  # type: ignore[func-returns-value]

    model, other = Net().eval(), Net().eval()
    other.compile(backend=backend)
    wrapper = torch.compile(Net().eval(), backend=backend)
    other(X), wrapper(X)
    with warnings.catch_warnings(), tftrace.record(model) as trace:
        warnings.simplefilter("error")
        other(X), wrapper(X), model(X)
    assert called(trace, "") == NET and len(ran) == 4


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_compiled_function_that_calls_it_hides_it_and_that_is_said(warm: bool, backend: str) -> None:
    model = Net().eval()
    function = torch.compile(lambda x: model(x) + 1, backend=backend, fullgraph=True)
    if warm:
        function(X)
    with pytest.warns(UserWarning, match="No call of the model was seen"), tftrace.record(model) as trace:
        result = function(X)
    assert trace.meta["lost"] == [UNSEEN] and len(trace) == 0
    torch.testing.assert_close(result, model(X) + 1)
    with torch.compiler.set_stance("force_eager"), tftrace.record(model) as trace:
        function(X)
    assert called(trace, "") == NET


def kinds(traced: Any) -> list[str]:
    """The nodes of a traced graph, with all that is inside."""
    return [node.kind() for node in traced.inlined_graph.nodes()]


@pytest.mark.parametrize("level", [*LEVELS, "ops"])
@pytest.mark.parametrize("program", [False, True])
def test_a_model_is_traced_by_torch_as_it_is_without(program: bool, level: str) -> None:
    model = Net().eval()
    bare = torch.jit.trace(model, X)
    with tftrace.record(None if program else model, level=level) as trace:
        model(X)
        traced = torch.jit.trace(model, X)
        traced(X)
        model(X)
    whole(trace)
    assert kinds(traced) == kinds(bare) and str(traced.code) == str(bare.code)
    assert torch.equal(traced(X), model(X))
    roots = [step.name for step in trace if step.parent is None]
    assert roots.count("Net" if program else "") >= 2


@pytest.mark.parametrize("level", [*LEVELS, "ops"])
def test_a_function_that_traces_a_model(level: str) -> None:
    model = Net().eval().requires_grad_(False)  # else it could be no constant of what is traced

    def trace(x: torch.Tensor) -> Any:
        y = model(x)
        return torch.jit.trace(lambda z: model(z) * 2, y[:, :1] + x)

    recorded: Any = tftrace.traced(level=level)(trace)
    found = recorded(X)
    bare = torch.jit.trace(lambda z: model(z) * 2, X)
    assert kinds(found) == kinds(bare) and torch.equal(found(X), bare(X))
    assert whole(recorded.trace)[0].status == "returned"
