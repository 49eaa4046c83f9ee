"""Arguments and results of every structure: how each is recorded, and that it is not affected."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutputWithPast

import tftrace

from ...support.odd import CACHE, Chain, Same, Twice, modules, only, rows, whole


def test_an_output_that_is_changed_afterwards_keeps_the_statistics_of_its_return() -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.same = Twice(), Same()

        def forward(self, x: torch.Tensor) -> Any:
            y = self.twice(x)
            y.add_(5)
            z = self.same(y)
            y.view(-1)[0] = 100
            return z

    model = Changes()
    with tftrace.record(model) as trace:
        model(torch.ones(2, 2))
    returned, given, last = (
        rows(only(whole(trace), "twice"), "output")[0],
        rows(only(trace, "same"), "input")[0],
        rows(only(trace, ""), "output")[0],
    )
    assert (returned.max, given.max, last.max) == (2.0, 7.0, 100.0)
    assert len({returned.tensor, given.tensor, last.tensor}) == 3


def test_an_output_that_is_the_input_has_its_number() -> None:
    model = Chain(Same(), nn.Identity(), nn.Dropout(), nn.ReLU(inplace=True)).eval()
    with tftrace.record(model) as trace:
        model(torch.tensor([-1.0, 1.0]))
    first, second, third, fourth = (only(whole(trace), f"parts.{i}") for i in range(4))
    numbers = {rows(step, role)[0].tensor for step in (first, second, third) for role in ("input", "output")}
    assert len(numbers) == 1 and rows(fourth, "input")[0].tensor in numbers
    # THEN one that was changed on the way has another
    assert rows(fourth, "output")[0].tensor not in numbers and rows(fourth, "output")[0].min == 0.0


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


Point = namedtuple("Point", "x y")


def cache(x: torch.Tensor) -> DynamicCache:
    made = DynamicCache()
    for layer in range(2):
        made.update(x.view(1, 1, 1, 2), x.view(1, 1, 1, 2) + 1, layer)
    return made


def loop(x: torch.Tensor) -> list[Any]:
    made: list[Any] = [x]
    made.append(made)
    return made


CACHED = [f"layers[{i}].{part}" for i in range(2) for part in ("keys", "values")]


STRUCTURES: dict[str, tuple[Callable[[torch.Tensor], Any], list[str]]] = {
    "tensor": (lambda x: x, [""]),
    "model output": (
        lambda x: BaseModelOutputWithPast(last_hidden_state=x, hidden_states=(x, x + 1), **{CACHE: cache(x)}),
        ["last_hidden_state", *(f"{CACHE}.{p}" for p in CACHED), "hidden_states[0]", "hidden_states[1]"],
    ),
    "cache": (cache, CACHED),
    "two caches": (
        lambda x: EncoderDecoderCache(cache(x), cache(x)),
        [f"{side}_attention_cache.{p}" for side in ("self", "cross") for p in CACHED],
    ),
    "dataclass": (lambda x: Pair(x, Pair(1, x)), ["left", "right.right"]),
    "namedtuple": (lambda x: Point(x, [x]), ["x", "y[0]"]),
    "dict": (lambda x: {"a": x, "b": OrderedDict(c=x), 3: x}, ["a", "b.c", "3"]),
    "list": (lambda x: [x, None, [x]], ["[0]", "[2][0]"]),
    "nested": (lambda x: ({"a": [(x,)]}, x), ["[0].a[0][0]", "[1]"]),
    "none": (lambda x: None, []),
    "numbers": (lambda x: (1, 2.5, True, "text"), []),
    "holds itself": (loop, ["[0]"]),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_every_tensor_of_an_output_has_a_path(kind: str) -> None:
    make, paths = STRUCTURES[kind]

    class Gives(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return make(x)

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gives, self.same = Gives(), Same()

        def forward(self, x: torch.Tensor) -> Any:
            given = self.gives(x)
            return self.same(given)

    model = Keeps()
    with tftrace.record(model) as trace:
        result = model(torch.ones(2))
    assert type(result) is type(make(torch.ones(2)))
    for step in (only(whole(trace), "gives"), only(trace, "same"), only(trace, "")):
        assert sorted(t.name for t in rows(step, "output")) == sorted(paths)
    given = [t.name for t in rows(only(trace, "same"), "input")]
    assert sorted(given) == sorted("x" + (p if p.startswith("[") or not p else f".{p}") for p in paths)


def test_arguments_by_keyword_have_their_names() -> None:
    class Takes(nn.Module):
        def forward(self, x: torch.Tensor, *more: Any, scale: Any = None, **rest: Any) -> Any:
            return x * scale

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.takes = Takes()

        def forward(self, *, x: torch.Tensor) -> Any:
            self.takes(x, x, {"a": x}, scale=x, mask=[None, x])
            return self.takes(scale=x, x=x)

    model = Calls()
    with tftrace.record(model) as trace:
        model(x=torch.ones(1))
    one, two = (step for step in modules(whole(trace)) if step.name == "takes")
    assert [t.name for t in rows(one, "input")] == ["x", "more[0]", "more[1].a", "scale", "mask[1]"]
    assert sorted(t.name for t in rows(two, "input")) == ["scale", "x"]
    assert [t.name for t in rows(only(trace, ""), "input")] == ["x"]
