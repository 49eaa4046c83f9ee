"""Where tensors come from and go to, by identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrace.flow import consumers, producer
from tftrace.trace import schema

from ..support.builders import Builder, hostile_trace


def test_the_innermost_call_made_a_tensor_and_all_that_took_it_are_named(tmp_path: Path) -> None:
    # GIVEN model( outer( inner(x) ), dropout ), where dropout returns what it took and the model what dropout returned
    b = Builder(tmp_path / "t.tftrace")
    model, outer, inner = b.step(0), b.step(1, name="outer"), b.step(2, name="outer.inner")
    line, drop, last = b.step(1, schema.LINE), b.step(1, name="drop"), b.step(1, name="last")
    for step, role, tensor in [
        (model, schema.INPUT, 10),
        (outer, schema.INPUT, 10),
        (inner, schema.INPUT, 10),
        (inner, schema.OUTPUT, 11),
        (outer, schema.OUTPUT, 11),
        (line, schema.LOCAL, 10),  # an alias of the model's input
        (drop, schema.INPUT, 11),
        (drop, schema.OUTPUT, 11),
        (last, schema.INPUT, 12),  # made on the way: no step returned it
        (last, schema.OUTPUT, 13),
        (model, schema.OUTPUT, 13),
    ]:
        b.tensor(step, role, "t", tensor=tensor)
    trace = b.done()
    assert producer(trace, drop, 11) == producer(trace, model, 11) == inner
    assert producer(trace, model, 10) is None and producer(trace, last, 12) is None
    assert producer(trace, model, 13) == last
    assert consumers(trace, inner, 10) == [model, outer] and consumers(trace, line, 10) == [model, outer, inner]
    assert consumers(trace, inner, 11) == [drop] and consumers(trace, last, 13) == []


def test_a_line_made_what_it_alone_bound(tmp_path: Path) -> None:
    # GIVEN h = dropout(x + y): the sum goes into dropout, comes out as it is, and is bound to h
    b = Builder(tmp_path / "t.tftrace")
    b.step(0)
    line = b.step(1, schema.LINE)
    drop = b.step(2, name="drop")
    b.tensor(line, schema.LOCAL, "h", tensor=5)
    b.tensor(drop, schema.INPUT, "input", tensor=5)
    b.tensor(drop, schema.OUTPUT, "", tensor=5)
    trace = b.done()
    assert producer(trace, drop, 5) == line


def test_the_same_number_on_another_rank_is_another_tensor(tmp_path: Path) -> None:
    b = Builder(tmp_path / "t.tftrace")
    for rank in (0, 1):
        b.step(0, rank=rank)
        made = b.step(1, name="a", rank=rank)
        taken = b.step(1, name="b", rank=rank)
        b.tensor(made, schema.OUTPUT, "", tensor=7)
        b.tensor(taken, schema.INPUT, "x", tensor=7)
    trace = b.done()
    assert [producer(trace, 2, 7), producer(trace, 5, 7)] == [1, 4]
    assert [consumers(trace, 1, 7), consumers(trace, 4, 7)] == [[2], [5]]


@pytest.mark.parametrize("tensor", [-1, 10**9, 2**70])
def test_a_tensor_that_is_not_there(tmp_path: Path, tensor: int) -> None:
    trace = hostile_trace(tmp_path)
    assert producer(trace, 0, tensor) is None and consumers(trace, 0, tensor) == []
