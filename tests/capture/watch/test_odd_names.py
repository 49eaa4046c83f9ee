"""Names, paths and occurrences of modules: how each is recorded, and that it is not affected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tftrace

from ...support.bits import hooks, imprint
from ...support.odd import Chain, Same, Twice, modules, names, only, parents, rows, whole


def test_a_module_under_two_parents_is_named_by_the_one_that_calls() -> None:
    class Block(nn.Module):
        def __init__(self, act: nn.Module) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"act": act})

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner["act"](x)

    act = Twice()
    model = Chain(Block(act), Block(act), act)
    with tftrace.record(model) as trace:
        model(torch.ones(2))
    assert names(whole(trace))[:5] == ["", "parts.0", "parts.0.inner.act", "parts.1", "parts.1.inner.act"]
    assert names(trace)[5] == "parts.2"
    assert [only(trace, f"parts.{i}.inner.act").occurrence for i in range(2)] == [0, 0]


def test_a_module_called_500_times_has_as_many_steps() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = x
            for _ in range(500):
                state = self.cell(x, state)
            return state

    model, x = Loop(), torch.randn(1, 2)
    with torch.no_grad():
        bare = model(x)
        with tftrace.record(model) as trace:
            assert torch.equal(model(x), bare)
    kinds, found, occurrences = (trace.column(c) for c in ("kind", "name", "occurrence"))
    assert occurrences[(kinds == "module") & (found == "cell")].tolist() == list(range(500))
    whole(trace)


REPLACE: dict[str, Callable[[nn.Module, nn.Module], None]] = {
    "setattr": lambda model, new: setattr(model, "part", new),
    "register_module": lambda model, new: model.register_module("part", new),
    "_modules": lambda model, new: model._modules.__setitem__("part", new),
}


@pytest.mark.parametrize("way", REPLACE)
def test_a_module_that_is_replaced_during_the_forward_is_recorded(way: str) -> None:
    class Replaces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part: Any = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.part(x)
            REPLACE[way](self, Chain(Twice(), Same()))
            return self.part(x)

    model = Replaces()
    old, x = model.part, torch.ones(1, 2)
    with torch.no_grad(), tftrace.record(model, engine="calls") as trace:  # hooks would name it in `unseen`
        result = model(x)
    with torch.no_grad():
        assert torch.equal(result, old(x) * 2)
    found = [(step.name, step.type) for step in modules(whole(trace))]
    assert found == [
        ("", "Replaces"), ("part", "Linear"), ("part", "Chain"), ("part.parts.0", "Twice"), ("part.parts.1", "Same"),
    ]  # fmt: skip
    # THEN neither the old nor the new module keeps anything of the recording
    assert imprint(model.part) == imprint(Chain(Twice(), Same())) and imprint(old) == imprint(nn.Linear(2, 2))


def test_a_module_that_calls_itself() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = Twice()

        def forward(self, x: torch.Tensor, times: int) -> Any:
            y = self.twice(x)
            return self(y, times - 1) if times else y

    model = Chain(Same())
    model.parts.append(Halves())
    inner: Any = model.parts[1]
    with tftrace.record(inner) as trace:
        inner(torch.ones(1), 3)
    steps = [step for step in modules(whole(trace)) if step.type == "Halves"]
    assert [(step.name, step.occurrence, step.forward) for step in steps] == [("", i, 0) for i in range(4)]
    above = [next(a for a in parents(step) if a.kind == "module") for step in steps[1:]]
    assert [step.step for step in above] == [step.step for step in steps[:-1]]
    assert [rows(step, "output")[0].max for step in steps] == [16.0] * 4
    assert [step.occurrence for step in modules(trace) if step.name == "twice"] == [0, 1, 2, 3]


def test_a_model_that_a_part_of_it_calls_again() -> None:
    class Asks(nn.Module):
        def forward(self, x: torch.Tensor, ask: Callable[..., torch.Tensor] | None = None) -> torch.Tensor:
            return x + 1 if ask is None else ask(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.asks = Asks()

        def forward(self, x: torch.Tensor, again: bool = True) -> Any:
            return self.asks(x, (lambda y: self(y, again=False)) if again else None)

    model = Outer()
    with tftrace.record(model) as trace:
        assert model(torch.ones(1)) == 2
    assert names(whole(trace)) == ["", "asks", "", "asks"]
    assert {step.forward for step in trace} == {0}


@pytest.mark.parametrize("level", ["functions", "lines"])
def test_a_forward_called_directly_is_a_function_step(level: str) -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mine, self.torchs = Chain(Twice()), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.torchs.forward(self.mine.forward(x))

    model = Direct()
    with tftrace.record(model, level=level) as trace:
        model(torch.ones(1, 2))
    assert names(whole(trace)) == ["", "mine.parts.0"]
    functions = [step for step in trace if step.kind == "function"]
    assert [step.name for step in functions] == ["mine.forward", "torchs.forward"]
    assert [[t.shape for t in rows(step, role)] for step in functions for role in ("input", "output")] == [[(1, 2)]] * 4
    assert next(a.name for a in parents(only(trace, "mine.parts.0")) if a.kind == "function") == "mine.forward"


def test_several_models_in_one_recording() -> None:
    one, two = Chain(Twice()), Chain(Same())
    with tftrace.record({"one": one, "two": two}) as trace:
        two(one(torch.ones(1)))
    assert names(whole(trace)) == ["one", "one.parts.0", "two", "two.parts.0"]
    assert [step.forward for step in modules(trace)] == [0, 0, 1, 1]
    assert hooks(one) == hooks(two) == 0


class Unpaired(nn.Module):
    """Names that no text in UTF-8 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("a\ud800b", nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> Any:
        return {"k\udc80": self.get_submodule("a\ud800b")(x)}


def test_half_of_a_pair_of_surrogates_becomes_a_question_mark() -> None:
    model = Unpaired()
    with tftrace.record(model) as trace:
        model(torch.ones(1, 4))
    assert trace.meta.get("failure") is None
    assert [step.name for step in trace if step.kind == "module"] == ["", "a?b"]
    assert [row.name for row in trace[0].tensors if row.role == "output"] == ["k?"]
