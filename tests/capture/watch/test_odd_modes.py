"""Modes of torch: autocast, inference, training, checkpoints: how each is recorded, and that it is not affected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import tftrace
from tftrace.navigate import findings

from ...support.bits import same, surroundings
from ...support.odd import LEVELS, NET, Net, Same, Twice, above, modules, names, only, rows, whole
from ...support.zoo_models import build


class Blocks(nn.Module):
    """Two blocks whose activations are computed again in the backward pass."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)) for _ in range(2))
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.use_reentrant)
        return x


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_gradient_checkpointing(use_reentrant: bool, level: str) -> None:
    model, inputs = Blocks(use_reentrant), [torch.randn(3, 4, requires_grad=True) for _ in range(2)]

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        outs = [model(x) for x in inputs]
        for out in reversed(outs):  # the later forward is computed again first
            out.square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    bare = train()
    with tftrace.record(model, level=level) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 8
    again = above(whole(trace), "torch.utils.checkpoint")
    inside = {step["step"] for steps in again.values() for step in steps}
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    # THEN the forwards themselves are as without checkpoints
    block = ["blocks.{0}", "blocks.{0}.0", "blocks.{0}.1", "blocks.{0}.2"]
    forward = ["", *(name.format(i) for i in range(2) for name in block)]
    assert [s["name"] for n, s in steps.items() if n not in inside and s["kind"] == "module"] == forward * 2
    # AND what is computed again stands apart, with the number of its forward
    assert [(steps[n]["kind"], steps[n]["forward"]) for n in again] == [("function", n) for n in (1, 1, 0, 0)]
    assert [next(s["name"] for s in below if s["kind"] == "module") for below in again.values()] == [
        "blocks.1", "blocks.0", "blocks.1", "blocks.0",
    ]  # fmt: skip
    assert Counter(s["forward"] for s in steps.values() if s["parent"] is None and s["kind"] == "module") == {
        0: 1,
        1: 1,
    }
    assert trace.meta.get("error") is None
    # AND what torch stops early, since it has all that it needs, has not failed
    assert {step["status"] for step in steps.values()} == {"returned"}
    assert not len(findings.wrong(trace))


def test_what_fails_as_it_is_computed_again_has_raised() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 2:
                raise ValueError("not again")
            return x * 2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.once = nn.Sequential(nn.Tanh(), nn.Tanh()), Once()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = checkpoint(lambda y: self.once(y).tanh(), x, use_reentrant=False)
            return checkpoint(self.fine, x, use_reentrant=False)  # type: ignore[no-any-return]

    model = Net()
    with pytest.raises(ValueError, match="not again"), tftrace.record(model) as trace:
        model(torch.randn(2, requires_grad=True)).sum().backward()
    # of the two, the first that was computed again was stopped, and the other failed
    assert [step.name for step in trace if step.status == "raised" and step.kind == "module"] == ["once"]


def test_gradient_checkpointing_of_transformers() -> None:
    model, inputs = build("llama")
    model.train()
    model.gradient_checkpointing_enable()

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    bare = train()
    with tftrace.record(model) as trace:
        recorded = train()
    assert same(recorded, bare)
    again = above(whole(trace), "torch.utils.checkpoint")
    # THEN each layer was computed again from its first norm on (the call of the layer itself lies inside its checkpoint
    # or outside, as transformers has it)
    norms = [
        [s["name"] for s in below if "layernorm" in s["name"] and s["kind"] == "module"] for below in again.values()
    ]
    parts = ("input_layernorm", "post_attention_layernorm")
    assert norms == [[f"model.layers.{i}.{part}" for part in parts] for i in (1, 0)]
    assert Counter(names(trace))["model.layers.0.input_layernorm"] == 2
    assert {s["forward"] for s in trace.steps.to_pylist()} == {0}


def test_autocast() -> None:
    model, x = Net().eval(), torch.randn(2, 4)

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        out.float().sum().backward()
        return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    bare = train()
    with tftrace.record(model) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 5
    assert [rows(only(whole(trace), name), "output")[0].dtype for name in ("first", "act", "last")] == ["bfloat16"] * 3
    assert rows(only(trace, "first"), "input")[0].dtype == "float32"


class Writes(nn.Module):
    """Passes a tensor on, and on again after writing to it."""

    def __init__(self, write: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.one, self.two, self.three = Same(), Same(), Same()
        self.write = write

    def forward(self, x: torch.Tensor) -> Any:
        x = self.two(self.one(x * 1))
        self.write(x)
        return self.three(x)


WRITES: dict[str, Callable[[torch.Tensor], Any]] = {
    "other values": lambda x: x.add_(1),
    "other places": lambda x: x.copy_(x.flip(0)),  # each statistic stays as it is
    "through a view": lambda x: x[:1].mul_(3),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_same_tensor_has_one_number_until_it_is_written_to(mode: Any, write: str) -> None:
    model = Writes(WRITES[write])
    with mode(), tftrace.record(model) as trace:
        model(torch.tensor([1.0, 2.0, 3.0]))
    one, two, three = (only(whole(trace), name) for name in ("one", "two", "three"))
    numbers = [rows(step, role)[0].tensor for step in (one, two, three) for role in ("input", "output")]
    assert len(set(numbers[:4])) == 1 and len(set(numbers[4:])) == 1
    assert numbers[3] != numbers[4]


def test_inference_tensors_of_one_address_differ() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = Twice()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(50):
                self.twice(x)  # dies at once, and the next one may take its place
            return x

    model = Loop()
    with torch.inference_mode(), tftrace.record(model, level="modules") as trace:
        model(torch.ones(100))
    assert len({rows(step, "output")[0].tensor for step in modules(whole(trace)) if step.name == "twice"}) == 50


@pytest.mark.parametrize("level", LEVELS)
def test_training_draws_the_same_random_numbers(level: str) -> None:
    model, x = Net().train(), torch.randn(2, 4)
    torch.manual_seed(5)
    bare, around = model(x), surroundings()
    torch.manual_seed(5)
    with tftrace.record(model, level=level) as trace:
        recorded = model(x)
    assert same(recorded, bare) and surroundings() == around
    assert names(whole(trace)) == NET
