"""What is said of a tensor: its axes, a summary of its numbers, its statistics through the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tftrace import describe
from tftrace.trace import schema

from ..support.builders import Builder, attention_trace


def test_a_histogram_counts_finite_cells_only() -> None:
    found = describe.histogram(np.array([0.0, 1.0, 1.0, 4.0, np.nan, np.inf]), 4)
    assert found is not None
    assert (found.low, found.high, found.counts.tolist()) == (0.0, 4.0, [1, 2, 0, 1])
    assert describe.histogram(np.array([np.nan]), 4) is None
    constant = describe.histogram(np.full(3, 7.0), 2)
    assert constant is not None and constant.counts.sum() == 3


def test_bars() -> None:
    assert describe.bars([0, 1, None, 2]) == "▁▅ █"  # half way is rounded to even, as numpy does
    assert describe.bars([1, 2], low=0.0) == "▅█"
    assert describe.bars([3, 3, 3]) == "▅▅▅"
    assert describe.bars([None, float("nan")]) == "  "
    assert describe.tall_bars(np.array([16, 8, 1, 0]), 2) == ["█   ", "██▁ "]


def test_a_plane_of_a_tensor() -> None:
    values = np.arange(24).reshape(2, 3, 4)
    assert describe.take_plane(values, [1, 0, 0], 1, 2).tolist() == values[1].tolist()
    assert describe.take_plane(values, [0, 2, 0], 2, 0).tolist() == values[:, 2, :].T.tolist()
    assert describe.take_plane(np.arange(3), [0], -1, 0).tolist() == [[0, 1, 2]]
    assert describe.take_plane(np.array(5), [], -1, -1).tolist() == [[5]]


def test_an_outlier_survives_shrinking() -> None:
    values = np.zeros((100, 100))
    values[57, 93] = -8.0
    small = describe.shrink(values, 10, 7)
    assert small.shape == (10, 7)
    assert small.min() == -8.0
    assert small[5, 6] == -8.0


def test_axes_are_named_by_the_equation_else_by_the_sizes(tmp_path: Path) -> None:
    recipe = {
        "id": "heads", "cite": "a", "tex": "y=x", "formula": "x", "dims": {"x": "B N C", "out": "B N C"},
        "bind": [{"class": "Heads", "x": "arg:x", "out": "return"}],
    }  # fmt: skip
    builder = Builder(tmp_path / "axes", equations={"heads": recipe}, tokens=[["a", "b"]], config={"hidden_size": 8})
    root = builder.step(0)
    builder.tensor(root, schema.INPUT, "x", (1, 2, 2, 8, 5))
    heads = builder.step(1, name="heads", type="Heads", equation="heads")
    for role, name in ((schema.INPUT, "x"), (schema.OUTPUT, "")):
        builder.tensor(heads, role, name, (1, 2, 8))
    trace = builder.done()
    assert describe.axes(trace, 0, trace[0].tensors[0]) == ("B", "T", "Tk", "E", "d4")
    assert describe.axes(trace, 1, trace[1].tensors[0]) == ("B", "N", "C")


def test_tokens_along_an_axis(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, tokens=[["Ġa", "\x1b"]])
    assert describe.tokens_along(trace, 0, "T", 2) == ["␣a", "\\x1b"]
    assert describe.tokens_along(trace, 0, "D", 2) == []
    assert describe.tokens_along(trace, 0, "T", 3) == []


def test_a_statistic_along_layers_and_forwards(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "deep.tftrace")
    for forward in range(3):
        builder.step(0, forward=forward)
        for layer in range(12):
            at = builder.step(1, name=f"h.{layer}", type="Block", forward=forward)
            builder.tensor(at, schema.OUTPUT, "", l2=float(layer + 100 * forward))
    trace = builder.done()
    step = trace[1 + 13 + 2]  # layer 2 of the second forward
    layers = describe.along_layers(trace, step.position, step.tensors[0])
    assert layers is not None
    assert layers.labels == [str(n) for n in range(12)]  # by number, not by letter
    assert layers.values == [100.0 + n for n in range(12)]
    assert layers.here == 2 and layers.positions[2] == step.position
    forwards = describe.along_forwards(trace, step.position, step.tensors[0])
    assert forwards is not None
    assert forwards.values == [2.0, 102.0, 202.0] and forwards.here == 1
    assert describe.along_layers(trace, 0, step.tensors[0]) is None
