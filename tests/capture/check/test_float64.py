"""A float64 model that computes partly in float32 still holds, and the verdict says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import tftrace
from tftrace.capture.check import cells
from tftrace.trace import schema

from ...support.zoo_models import DECODER, words


def test_float64_is_held_to_float32_where_that_is_computed_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = LlamaForCausalLM(LlamaConfig(**DECODER)).double().eval(), words(padded=False)

    def told(name: str) -> set[tuple[str, str | None]]:
        with torch.no_grad(), tftrace.record(model) as trace:
            model(**inputs)
        return {(r["verdict"], r["reason"]) for r in trace.checks.to_pylist() if r["equation"] == name}

    assert told("rms-norm") == {("holds", schema.SINGLE)} != told("linear") == {("holds", None)}
    norm = type(model.model.norm)
    forward = norm.forward
    monkeypatch.setattr(norm, "forward", lambda self, x: forward(self, x) * (1 + 3e-6))
    assert told("rms-norm") == {("differs", "out is not what the equation gives")}


def test_where_some_cells_differ_nothing_is_said_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in blocks: the first row holds as float32 rounds, the last one does not hold."""
    model, inputs = LlamaForCausalLM(LlamaConfig(**DECODER)).double().eval(), words(padded=False)
    norm = type(model.model.norm)
    forward = norm.forward

    def broken(self: Any, x: torch.Tensor) -> Any:
        out = forward(self, x)
        out[-1] *= 1.001
        return out

    monkeypatch.setattr(norm, "forward", broken)
    monkeypatch.setattr(cells, "_AT_ONCE", 16)
    with torch.no_grad(), tftrace.record(model, check="all") as trace:
        model(**inputs)
    found = {(r["verdict"], r["reason"]) for r in trace.checks.to_pylist() if r["equation"] == "rms-norm"}
    assert found == {("differs", "out is not what the equation gives")}


def test_a_cell_of_what_is_computed_in_float32_is_derived() -> None:
    model, inputs = LlamaForCausalLM(LlamaConfig(**DECODER)).double().eval(), words(padded=False)
    with torch.no_grad(), tftrace.record(model, values="all") as trace:
        model(**inputs)
    step = next(s for s in trace if s.equation == "rms-norm")
    found = step.explain(0, 1, 2)
    assert found.total is not None and 1e-15 < abs(found.total - found.value) <= found.bound
