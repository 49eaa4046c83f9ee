"""Gradients in a trace are those that autograd computes, and watching does not change them."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import tftrace
from tftrace.capture.measure.structure import leaves

from ...conftest import tiny

Found = dict[tuple[str, str], list[Any]]


def gradients(trace: tftrace.Trace, forward: int | None = None) -> Found:
    """Rows of role gradient by the step's name and their own, in the order in which they came."""
    found: Found = defaultdict(list)
    for step in trace:
        if forward is None or step.forward == forward:
            for row in step.tensors:
                if row.role == "gradient":
                    found[step.name, row.name].append(row)
    return found


def same(row: Any, tensor: torch.Tensor) -> bool:
    """Whether a row has the statistics of a tensor."""
    exact = tensor.detach().double().numpy()
    expected = (exact.mean(), exact.std(), exact.min(), exact.max(), np.linalg.norm(exact), (exact == 0).sum())
    return row.shape == exact.shape and expected == pytest.approx(
        (row.mean, row.std, row.min, row.max, row.l2, row.zero), rel=1e-6, abs=1e-12
    )


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return x + self.down(torch.relu(self.up(x)))


def watched(model: nn.Module) -> dict[tuple[str, str], torch.Tensor]:
    """What autograd's own hooks tell of the outputs of all modules, from now on."""
    told: dict[tuple[str, str], torch.Tensor] = {}

    def hook(name: str) -> Any:
        def look(module: nn.Module, args: Any, out: Any) -> None:
            for path, tensor in leaves(out):
                if tensor.requires_grad:
                    tensor.register_hook(lambda g, key=(name, path): told.__setitem__(key, g.clone()))

        return look

    for name, module in model.named_modules():
        module.register_forward_hook(hook(name))
    return told


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_small_bert(attention: str) -> None:
    model, inputs = tiny("bert", attention)
    inputs["labels"] = torch.tensor([0, 1])
    model.train()
    bare = copy.deepcopy(model)
    torch.manual_seed(1)
    told = watched(bare)
    loss = bare(**inputs).loss
    loss.backward()
    torch.manual_seed(1)
    with tftrace.record(model, backward=True, values="auto") as trace:
        recorded = model(**inputs).loss
        recorded.backward()
    # THEN training goes on as it would have, to the bit
    assert torch.equal(recorded, loss)
    expected = {name: parameter.grad for name, parameter in bare.named_parameters() if parameter.grad is not None}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, expected[name])
        assert not parameter._post_accumulate_grad_hooks and not parameter._backward_hooks
    # AND every gradient is there, of outputs and of parameters, and no other
    found = gradients(trace)
    of_parameters = {tuple(name.rpartition(".")[::2]): grad for name, grad in expected.items()}
    made = {("CrossEntropyLoss", "")}  # by the forward itself
    assert set(found) == told.keys() | of_parameters.keys() | made and len(of_parameters) > 30
    for key, tensor in (told | of_parameters).items():
        (row,) = found[key]
        assert same(row, tensor), key
    # AND they are kept whole as other tensors are: of outputs, not of weights
    step = next(s.step for s in trace if s.name == "bert.encoder.layer.0")
    assert np.array_equal(trace.value(step, "", "gradient"), told["bert.encoder.layer.0", ""].numpy())
    assert found["bert.encoder.layer.0.output.dense", "weight"][0].value is None


def test_a_wrong_gradient_would_be_seen() -> None:
    gate = Gate()
    with tftrace.record(gate, backward=True) as trace:
        gate(torch.randn(2, 4)).sum().backward()
    (row,) = gradients(trace)["up", "weight"]
    gradient = gate.up.weight.grad
    assert gradient is not None and same(row, gradient) and not same(row, gradient * 1.0001)


def test_modules_that_are_left_out_have_none() -> None:
    gate = Gate()
    with tftrace.record(gate, backward=True, exclude="up") as trace:
        gate(torch.randn(2, 4)).sum().backward()
    assert set(gradients(trace)) == {("", ""), ("down", ""), ("down", "weight"), ("down", "bias")}


def test_accumulated_gradients_stand_with_the_forward_they_belong_to() -> None:
    gate, x = Gate(), torch.randn(2, 4)
    sums = []
    with tftrace.record(gate, backward=True) as trace:
        for _ in range(3):
            gate(x).sum().backward()
            assert gate.up.weight.grad is not None
            sums.append(gate.up.weight.grad.clone())
    for forward in range(3):
        (row,) = gradients(trace, forward)["up", "weight"]
        assert same(row, sums[forward])  # the sum so far, as an optimizer would find it
        assert same(gradients(trace, forward)["", ""][0], torch.ones(2, 4))


def test_a_shared_parameter_and_a_module_called_twice() -> None:
    class Tied(Gate):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Linear(4, 8)
            self.again.weight = self.up.weight

        def forward(self, x: torch.Tensor) -> Any:
            return self.again(self.down(self.up(self.down(self.up(x)))))

    model = Tied()
    with tftrace.record(model, backward=True) as trace:
        model(torch.randn(2, 4)).sum().backward()
    found = gradients(trace)
    for name in ("up", "again"):
        (row,) = found[name, "weight"]  # the whole gradient, once with each module that has the parameter
        assert model.up.weight.grad is not None and same(row, model.up.weight.grad)
    first, second = (s for s in trace if s.name == "up")
    assert {row.name for row in first.tensors if row.role == "gradient"} == {"", "weight", "bias"}
    assert {row.name for row in second.tensors if row.role == "gradient"} == {""}


def test_two_backward_passes_of_one_graph() -> None:
    gate = Gate()
    with tftrace.record(gate, backward=True) as trace:
        loss = gate(torch.randn(2, 4)).sum()
        loss.backward(retain_graph=True)
        (2 * loss).backward()
    rows = gradients(trace)["down", ""]
    assert [row.max for row in rows] == [1.0, 2.0]


def test_what_has_no_gradient_has_no_row() -> None:
    gate = Gate()
    gate.down.requires_grad_(False)
    with tftrace.record(gate, backward=True) as trace:
        early = gate(torch.randn(2, 4))
        with torch.no_grad():
            gate(torch.randn(2, 4))
        early.sum().backward()
    assert set(gradients(trace, 0)) == {("", ""), ("down", ""), ("up", ""), ("up", "weight"), ("up", "bias")}
    assert not gradients(trace, 1)


def test_outputs_that_are_changed_in_place() -> None:
    class Changing(Gate):
        def forward(self, x: torch.Tensor) -> Any:
            hidden = self.up(x)
            hidden.mul_(3.0)
            hidden[:, 0] = 0.0
            return self.down(hidden)

    model = Changing()
    told = watched(bare := copy.deepcopy(model))
    x = torch.randn(2, 4)
    bare(x).sum().backward()
    with tftrace.record(model, backward=True) as trace:
        model(x).sum().backward()
    (row,) = gradients(trace)["up", ""]
    assert same(row, told["up", ""]) and row.zero == 2  # of what the module returned, before it was changed


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant: bool) -> None:
    gate, x = Gate(), torch.randn(2, 4, requires_grad=True)
    told = watched(bare := copy.deepcopy(gate))
    bare(x).sum().backward()

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = gate

        def forward(self, x: torch.Tensor) -> Any:
            return checkpoint(self.gate, x, use_reentrant=reentrant)

    model = Saving()
    with tftrace.record(model, backward=True) as trace:
        model(x).sum().backward()
    found = gradients(trace)
    for name in ("up", "down"):
        (row,) = found[f"gate.{name}", ""]
        assert same(row, told[name, ""])
        (row,) = found[f"gate.{name}", "weight"]
        assert same(row, getattr(bare, name).weight.grad)


def test_gradients_of_forwards_that_are_left_out_are_left_out() -> None:
    from tftrace.capture.forward_choice import Choice
    from tftrace.capture.recorder import Recorder

    gate, seen = Gate(), []
    with Recorder(
        None, None, "modules", False, {}, choice=Choice(every=3, max_forwards=2), backward=True, open=tftrace.Trace
    ) as trace:
        for _ in range(8):
            gate.zero_grad()
            gate(torch.randn(2, 4)).sum().backward()
            assert gate.up.weight.grad is not None
            seen.append(gate.up.weight.grad.clone())
    assert {s.forward for s in trace} == {0, 3}
    for forward in (0, 3):
        (row,) = gradients(trace, forward)["Gate.up", "weight"]
        assert same(row, seen[forward])


def test_a_graph_that_outlives_the_recording_is_left_alone() -> None:
    gate = Gate()
    with tftrace.record(gate, backward=True) as trace:
        loss = gate(torch.randn(2, 4)).sum()
    loss.backward()
    trace.reload()
    assert not gradients(trace) and gate.up.weight.grad is not None
