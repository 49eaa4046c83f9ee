"""The same place in another call, layer or forward pass."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace import Trace
from tftrace.navigate import siblings
from tftrace.trace import schema

from ..support.builders import Builder, attention_trace


def layered(folder: Path, layers: int = 3, forwards: int = 2) -> Trace:
    """A forward: 0 Model, then for each layer 1 line > 2 layer > 3 line > 4 attention."""
    builder = Builder(folder / "layers.tftrace")
    for forward in range(forwards):
        builder.step(0, forward=forward)
        for at in range(layers):
            builder.step(1, schema.LINE, "", "Model.forward", file="m.py", line=2, end_line=2, forward=forward)
            builder.step(2, name=f"layer.{at}", type="Layer", forward=forward)
            builder.step(3, schema.LINE, f"layer.{at}", "Layer.forward", file="m.py", line=9, end_line=9,
                         forward=forward)  # fmt: skip
            builder.step(4, name=f"layer.{at}.attention", type="Attention", forward=forward)
    return builder.done()


def test_the_same_place_one_layer_on(tmp_path: Path) -> None:
    trace = layered(tmp_path)
    assert [siblings.next_layer(trace, at) for at in (0, 1, 2, 3, 4)] == [2, 2, 6, 7, 8]
    assert siblings.next_layer(trace, 12) == 17  # the next forward goes on
    assert [siblings.back_layer(trace, at) for at in (8, 7, 4, 13)] == [4, 3, 2, 10]
    assert [siblings.layer(trace, at) for at in (0, 1, 2, 8)] == [None, None, 0, 1]


def test_the_same_place_one_token_on(tmp_path: Path) -> None:
    trace = layered(tmp_path)
    assert [siblings.next_token(trace, at) for at in (0, 4, 9, 5)] == [13, 17, 22, 18]
    assert [siblings.back_token(trace, at) for at in (13, 17, 22, 18)] == [0, 4, 9, 5]
    assert (siblings.next_token(trace, 20), siblings.back_token(trace, 4)) == (20, 4)


def test_a_further_call_of_the_same_module(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    assert [siblings.next_same(trace, at) for at in (6, 5, 21)] == [21, 20, 21]
    assert [siblings.back_same(trace, at) for at in (21, 20, 6)] == [6, 5, 6]


def test_run_to_a_line(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    file = str(tmp_path / "toy.py")
    assert siblings.run_to(trace, 0, file, 6) == 7  # inside of a statement over lines 5 to 7
    assert siblings.run_to(trace, 7, file, 4) == 20
    assert siblings.run_to(trace, 28, file, 4) == 20  # none comes: the last before
    assert siblings.run_to(trace, 0, file, 1) is None
    assert siblings.run_to(trace, 0, "other.py", 4) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3))
def test_each_has_its_reverse(layers: int, forwards: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = layered(Path(folder), layers, forwards)
        pairs = [(siblings.next_same, siblings.back_same), (siblings.next_token, siblings.back_token)]
        for at in range(len(trace)):
            for there, back in pairs:
                for one, other in ((there, back), (back, there)):
                    moved = one(trace, at)
                    assert moved == at or other(trace, moved) == at
            following = siblings.next_layer(trace, at)
            if siblings.layer(trace, at) not in (None, siblings.layer(trace, following)):
                assert siblings.back_layer(trace, following) == at


@pytest.mark.parametrize("name", ["next_same", "back_same", "next_layer", "back_layer", "next_token", "back_token"])
def test_a_step_of_which_nothing_is_known_stays(tmp_path: Path, name: str) -> None:
    builder = Builder(tmp_path / "null.tftrace")
    nothing: dict[str, Any] = dict.fromkeys(("kind", "name", "type", "forward"))
    builder.step(0, **nothing)
    builder.step(0, **nothing | {"name": f"layer.{9**30}"})  # too large for a number of a layer
    trace = builder.done()
    assert [getattr(siblings, name)(trace, at) for at in (0, 1)] == [0, 1]
    assert siblings.layer(trace, 1) is None
