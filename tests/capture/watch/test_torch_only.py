"""While a module of torch's runs in which nothing is followed, our trace function stays aside, and no row is missed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import tftrace
from tftrace.capture.watch import forward_hooks, ops

traced = pytest.mark.skipif(hasattr(sys, "monitoring"), reason="no trace function is used")


class Net(nn.Module):
    """Calls modules of torch's, one of which may be left by an exception, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.act = nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> Any:
        try:
            y = self.linear(x)
        except (RuntimeError, KeyboardInterrupt):
            y = x
        y = self.norm(y)
        z = twice(self.act(input=y))
        return z


def twice(x: torch.Tensor) -> torch.Tensor:
    """A function that is a step."""
    y = x + x
    return y


def torchs(body: str) -> Callable[..., Any]:
    """A function as if it were one of torch's files."""
    made: dict[str, Any] = {"linear": nn.functional.linear, "seen": SEEN, "sys": sys}
    exec(compile(f"def function(*args):\n    {body}", nn.functional.__file__, "exec"), made)
    return made["function"]  # type: ignore[no-any-return]


SEEN: list[Any] = []  # what sys.gettrace() gave in it
ENDS = {"returns": "return linear(*args)", "fails": "raise RuntimeError"}


def doubles(module: nn.Module, args: Any, result: torch.Tensor) -> torch.Tensor:
    """A hook, which is a function that is followed."""
    return twice(result)


def recorded(model: nn.Module, level: str) -> list[Any]:
    with torch.no_grad(), tftrace.record(model, level=level) as trace:
        for _ in range(2):
            model(torch.ones(2, 4))
    steps = [(s.kind, s.name, s.type, s.line, s.parent and s.parent.step, s.status) for s in trace]
    tensors = [(s.step, t.role, t.name, t.shape, t.mean) for s in trace for t in s.tensors]
    return [steps, tensors]


@traced
@pytest.mark.parametrize("level", ["functions", "lines", "ops"])
@pytest.mark.parametrize("end", ENDS)
def test_the_rows_are_the_same(level: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    assert ops._full(nn.functional.linear)  # torch remembers all names at the first question: they are these, not ours
    monkeypatch.setattr(nn.functional, "linear", torchs(ENDS[end]))
    found = recorded(model, level)
    monkeypatch.setattr(forward_hooks, "runs_only_torch", lambda module, given: False)
    assert recorded(model, level) == found
    assert {kind for kind, *_ in found[0]} >= {"module", "function"}


@traced
def test_after_an_interruption_it_is_there_from_the_next_module_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.functional, "linear", torchs("raise KeyboardInterrupt"))
    steps = [step[:2] for step in recorded(Net().eval(), "lines")[0]]
    after = [("module", "norm"), ("line", ""), ("module", "act"), ("function", "twice"), ("line", "twice")]
    assert steps[steps.index(after[0]) :][:5] == after and steps.count(("line", "twice")) == 4


@traced
def test_it_stays_aside_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    monkeypatch.setattr(nn.functional, "linear", torchs("seen.append(sys.gettrace()); return linear(*args)"))
    recorded(Net().eval(), "functions")
    assert SEEN == [None] * 2
    with Mode():
        recorded(Net().eval(), "functions")
    assert None not in SEEN[2:]


class Mode(TorchFunctionMode):
    """Whose function is code that is followed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@traced
def test_what_a_hook_of_others_calls_is_a_step() -> None:
    model = Net().eval()
    with model.linear.register_forward_hook(doubles):
        steps = recorded(model, "functions")[0]
    assert [name for kind, name, *_ in steps if kind == "function"][:2] == ["linear.doubles", "linear.doubles.twice"]
    with nn.modules.module.register_module_forward_hook(doubles):  # type: ignore[arg-type]
        steps = recorded(model, "functions")[0]
    assert "act.doubles" in [name for kind, name, *_ in steps if kind == "function"]


def before(module: nn.Module, args: Any) -> None:
    """A pre-hook, which is a function that is followed."""
    for one in args:
        twice(one)


class Around(nn.LayerNorm):
    """Has a way of being called of its own."""

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        twice(args[0])
        return super()._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


@traced
@pytest.mark.parametrize("way", ["pre-hook", "global pre-hook", "call"])
def test_what_runs_before_our_hook_is_a_step(way: str) -> None:
    model = Net().eval()
    with contextlib.ExitStack() as hooks:
        if way == "global pre-hook":
            hooks.enter_context(nn.modules.module.register_module_forward_pre_hook(before))
        elif way == "call":
            model.norm = Around(4)
        with torch.no_grad(), tftrace.record(model, level="functions", engine="hooks") as trace:
            if way == "pre-hook":  # of which the recording knows only at the next call
                hooks.enter_context(model.norm.register_forward_pre_hook(before))
            for _ in range(3):
                model(torch.ones(2, 4))
    called = [[step.name for step in trace if step.forward == n and step.name.endswith("twice")] for n in range(3)]
    assert len(called[0]) >= 2 and called == [called[0]] * 3


class Own(torch.Tensor):
    """A class whose functions are code that is followed."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


@traced
def test_what_a_tensor_of_another_class_calls_is_a_step() -> None:
    model = Net().eval()
    with torch.no_grad(), tftrace.record(model, level="functions") as trace:
        model(torch.ones(2, 4).as_subclass(Own))
    assert "linear.__torch_function__" in [step.name for step in trace]


def replaced(*args: Any) -> Any:
    """Takes the place of a function of torch's."""
    return args[0]


@traced
def test_what_takes_the_place_of_torchs_function_is_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.functional, "linear", replaced)
    assert "linear.replaced" in [name for _, name, *_ in recorded(Net().eval(), "functions")[0]]
