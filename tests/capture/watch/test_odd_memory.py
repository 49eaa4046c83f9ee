"""Memory and gradients, and exceptions: how each is recorded, and that it is not affected."""

from __future__ import annotations

import contextlib
import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import tftrace

from ...conftest import tiny
from ...support.bits import hooks, imprint, same, surroundings
from ...support.odd import LEVELS, Breaks, Chain, Twice, modules, names, only, parents, whole


class Watched(nn.Module):
    """Keeps weak references to what it computes on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)
        self.watch: list[Callable[[], bool]] = []

    def forward(self, x: torch.Tensor, fail: bool = False) -> torch.Tensor:
        for part in (self.first, self.act, self.last):
            x = part(x)
            weak, storage = weakref.ref(x), StorageWeakRef(x.untyped_storage())
            self.watch += [lambda weak=weak: weak() is None, storage.expired]  # type: ignore[misc]
        if fail:
            raise ValueError("on purpose")
        return x + 1


@pytest.mark.parametrize("level", LEVELS)
def test_neither_graph_nor_activations_are_kept(level: str) -> None:
    model, x = Watched(), torch.randn(2, 4)

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    bare = train()
    model.watch.clear()
    with tftrace.record(model, level=level) as trace:
        recorded = train()
        gc.collect()
        assert [gone() for gone in model.watch] == [True] * 6
        # THEN with the graph alive and without it too, when nobody needs the activations
        with torch.no_grad():
            model.watch.clear()
            out = model(x)
            gc.collect()
            assert [gone() for gone in model.watch] == [True] * 6
    assert same(recorded, bare) and len(bare) == 5 and out is not None
    whole(trace)


@pytest.mark.parametrize("level", LEVELS)
def test_a_forward_that_raised_keeps_nothing_either(level: str) -> None:
    model = Watched()
    with tftrace.record(model, level=level) as trace:
        with contextlib.suppress(ValueError):
            model(torch.randn(2, 4), fail=True)
        gc.collect()
        assert [gone() for gone in model.watch] == [True] * 6
    assert only(whole(trace), "").status == "raised"


@pytest.mark.parametrize("level", LEVELS)
def test_an_exception_in_the_middle(level: str) -> None:
    breaks = Breaks(ValueError("broken on purpose"))
    model = Chain(Twice(), Chain(breaks), Twice())
    before, around = imprint(model), surroundings()
    with pytest.raises(ValueError, match="broken on purpose"), tftrace.record(model, level=level) as trace:
        model(torch.ones(1))
    status = {step.name: step.status for step in modules(whole(trace))}
    assert status == {"": "raised", "parts.0": "returned", "parts.1": "raised", "parts.1.parts.0": "raised"}
    assert "broken on purpose" in trace.meta["error"]
    assert imprint(model) == before and surroundings() == around
    breaks.error = None
    assert model(torch.ones(1)) == 6
    with tftrace.record(model, level=level) as again:
        assert model(torch.ones(1)) == 6
    assert {step.status for step in whole(again)} == {"returned"} and again.meta.get("error") is None


class Handles(nn.Module):
    """Catches what a part of it raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.deep, self.after = Chain(Breaks(error)), Twice()

    def forward(self, x: torch.Tensor) -> Any:
        try:
            x = self.deep(x)
        except (ValueError, KeyboardInterrupt):
            x = x + 10
        return self.after(x)


@pytest.mark.parametrize("error", [ValueError("inner"), KeyboardInterrupt()], ids=["exception", "interrupt"])
@pytest.mark.parametrize("level", LEVELS)
def test_an_exception_that_the_model_catches(level: str, error: BaseException) -> None:
    model = Handles(error)
    with tftrace.record(model, level=level) as trace:
        assert model(torch.ones(1)) == 22
        assert model(torch.ones(1)) == 22
    status = [(step.name, step.status, step.forward) for step in modules(whole(trace))]
    one = [("", "returned"), ("deep", "raised"), ("deep.parts.0", "raised"), ("after", "returned")]
    if isinstance(error, KeyboardInterrupt):  # which torch tells no hook of: "open" is true as well
        status = [(name, found.replace("open", "raised"), forward) for name, found, forward in status]
    assert status == [(*pair, forward) for forward in range(2) for pair in one]
    assert trace.meta.get("error") is None
    after = [step for step in modules(trace) if step.name == "after"]
    assert [next(a.name for a in parents(step) if a.kind == "module") for step in after] == ["", ""]


@pytest.mark.slow
def test_the_layers_of_a_stack_are_not_kept_for_its_equation() -> None:
    """Of `return of layers.[0-9]#-1` only the last call is asked for: the others may go, with what they were given."""
    model, inputs = tiny("bert")
    layers = model.bert.encoder.layer
    layers.extend([copy.deepcopy(layers[0]) for _ in range(4)])
    outputs: list[Callable[[], Any]] = []
    alive: list[int] = []

    def hook(_: nn.Module, __: object, result: Any) -> None:
        gc.collect()
        alive.append(sum(output() is not None for output in outputs))
        outputs.append(weakref.ref(result[0] if isinstance(result, tuple) else result))

    for layer in layers:
        layer.register_forward_hook(hook)
    with torch.no_grad(), tftrace.record(model) as trace:
        model(**inputs)
    assert len(alive) == 6 and max(alive) <= 2  # the one before, which the layer's equation asks for, and its input
    stack = [row for row in trace.checks.to_pylist() if trace[row["step"]].type == "BertEncoder"]
    assert [row["verdict"] for row in stack] == ["holds"]


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupt_that_the_user_catches(level: str) -> None:
    breaks = Breaks(KeyboardInterrupt())
    model = Chain(Twice(), Chain(breaks), Twice())
    around = surroundings()
    with tftrace.record(model, level=level) as trace:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                model(torch.ones(1))
        breaks.error = None
        model(torch.ones(1))
        model.parts[0](torch.ones(1))  # a part on its own is a root as well
    steps = modules(whole(trace))
    broken = ["", "parts.0", "parts.1", "parts.1.parts.0"]
    assert [step.name for step in steps] == [*broken, *broken, *broken, "parts.2", "parts.0"]
    assert [step.forward for step in steps] == [0] * 4 + [1] * 4 + [2] * 5 + [3]
    assert [step.step for step in steps if step.parent is None] == [steps[i].step for i in (0, 4, 8, 13)]
    assert "returned" not in {steps[i].status for i in (0, 2, 3, 4, 6, 7)}
    assert {step.status for step in steps[8:]} == {"returned"}
    assert surroundings() == around and hooks(model) == 0


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupt_that_ends_the_recording(level: str) -> None:
    model = Chain(Twice(), Breaks(KeyboardInterrupt("enough")))
    before, around = imprint(model), surroundings()
    with pytest.raises(KeyboardInterrupt), tftrace.record(model, level=level) as trace:
        model(torch.ones(1))
    assert names(whole(trace)) == ["", "parts.0", "parts.1"]
    assert [step.status == "returned" for step in modules(trace)] == [False, True, False]
    assert "KeyboardInterrupt" in trace.meta["error"]
    assert imprint(model) == before and surroundings() == around
