"""Runs something alone and recorded, and holds one against the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import tftrace
from tftrace import cli
from tftrace.capture.measure.structure import leaves
from tftrace.trace import schema

from ..support.bits import hooks, same_bits


def unchanged(run: Callable[[], Any], model: nn.Module | None = None, **options: Any) -> tftrace.Trace:
    """Run something twice, the second time recorded, and make sure that it notices nothing and that nothing is ✗.

    Args:
        run: What to run; the tensors in its result are compared.
        model: The model to record; by default whatever models are called.
        options: Further arguments of `record`.

    Returns:
        The trace.
    """
    torch.manual_seed(1)
    bare = _tensors(run())
    put = 0 if model is None else hooks(model)  # some libraries put hooks of their own
    torch.manual_seed(1)
    with tftrace.record(model, **options) as trace:
        recorded = _tensors(run())
    assert len(bare) == len(recorded) > 0
    assert all(same_bits(one, two) for one, two in zip(bare, recorded, strict=True))
    assert model is None or hooks(model) == put
    sound(trace)
    return trace


def sound(trace: tftrace.Trace) -> None:
    """Make sure that a trace is whole, that nothing in it is ✗, and that it can be shown."""
    assert len(trace) and trace.meta["complete"] and not trace.meta.get("failure")
    assert {step.status for step in trace if step.kind == "module"} == {schema.RETURNED}
    failed = [row for row in trace.checks.to_pylist() if "check failed" in (row["reason"] or "")]
    assert not failed, failed[0]
    assert cli.main(["check", str(trace.path)]) == 0
    assert cli.main(["show", str(trace.path)]) == 0


def equations(trace: tftrace.Trace, verdict: str = schema.HOLDS) -> set[str]:
    """The equations with a verdict."""
    return {row["equation"] for row in trace.checks.to_pylist() if row["verdict"] == verdict}


def forwards(trace: tftrace.Trace) -> list[str]:
    """The names of the outermost calls."""
    return [step.name for step in trace if step.parent is None]


def _tensors(given: Any) -> list[torch.Tensor]:
    return [tensor.detach().clone() for _, tensor in leaves(given)]
