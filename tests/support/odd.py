"""Small modules that do what some model somewhere does, and how a recording of them is looked at."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPast

import tftrace

LEVELS = ["modules", "functions", "lines"]
CACHE = "cache" if "cache" in BaseModelOutputWithPast.__dataclass_fields__ else "past_key_values"  # before 5.24


def modules(trace: tftrace.Trace) -> list[Any]:
    return [step for step in trace if step.kind == "module"]


def names(trace: tftrace.Trace) -> list[str]:
    return [step.name for step in modules(trace)]


def rows(step: Any, role: str) -> list[Any]:
    return [tensor for tensor in step.tensors if tensor.role == role]


def only(trace: tftrace.Trace, name: str) -> Any:
    (step,) = (step for step in modules(trace) if step.name == name)
    return step


def whole(trace: tftrace.Trace) -> tftrace.Trace:
    """The trace, once it is sure that the recording did not fail and that its tree is one."""
    assert trace.meta.get("failure") is None, trace.meta["failure"]
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    assert sorted(steps) == list(range(len(steps)))
    roots = Counter(step["forward"] for step in steps.values() if step["parent"] is None and step["kind"] == "module")
    assert not roots or max(roots.values()) == 1
    for step in steps.values():
        assert step["status"] in ("returned", "raised", "open")
        if step["parent"] is None:
            assert step["depth"] == 0
            continue
        above = steps[step["parent"]]
        assert above["step"] < step["step"] and above["depth"] == step["depth"] - 1
        assert above["forward"] == step["forward"]
    return trace


class Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Same(nn.Module):
    """Returns the very object it is given."""

    def forward(self, x: Any) -> Any:
        return x


class Chain(nn.Module):
    """Calls its parts one after the other."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


class Net(nn.Module):
    """An ordinary small network with a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.drop, self.last = nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.act(self.first(x))
        hidden = self.drop(hidden)
        return self.last(hidden)


NET = ["", "first", "act", "drop", "last"]


class Breaks(nn.Module):
    """Raises what it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        if self.error is not None:
            raise self.error
        return y


def parents(step: Any) -> Iterator[Any]:
    while (step := step.parent) is not None:
        yield step


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """torch says of nested, sparse and quantised tensors that their interface may change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        warnings.filterwarnings("ignore", message=".*(nested|beta|quanti|deprecat)", category=UserWarning)
        yield


def above(trace: tftrace.Trace, kind: str) -> dict[int, list[dict[str, Any]]]:
    """For each step of a type the steps below it."""
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    found: dict[int, list[dict[str, Any]]] = {n: [] for n, step in steps.items() if step["type"] == kind}
    for step in steps.values():
        at = step["parent"]
        while at is not None:
            if at in found:
                found[at].append(step)
            at = steps[at]["parent"]
    return found
