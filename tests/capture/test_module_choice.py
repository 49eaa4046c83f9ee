"""`include`, `exclude` and `layers`: which modules become steps, and what their parents are then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.module_choice import selection
from tftrace.errors import TraceError

from ..conftest import tiny
from ..support.bits import same

PATHS = [
    *("", "embed", "encoder", "encoder.layer", "encoder.layer.0", "encoder.layer.0.attention"),
    *("encoder.layer.1", "encoder.layer.1.attention", "encoder.layer.2", "encoder.layer.2.attention"),
    *("classifier", "classifier.0", "classifier.1"),
]


def chosen(*, paths: Iterable[str] = PATHS, **options: Any) -> list[str]:
    asked = {"include": None, "exclude": None, "layers": None} | options
    wanted = selection(paths, **asked)
    return [path for path in paths if wanted(path)]


# -- paths ------------------------------------------------------------------------------------------


def test_without_a_choice_everything_is_recorded() -> None:
    assert chosen() == PATHS


def test_a_pattern_means_the_modules_that_it_names_and_all_below() -> None:
    assert chosen(include="encoder.layer.1") == ["encoder.layer.1", "encoder.layer.1.attention"]
    assert chosen(include=["classifier", "*.attention"]) == [
        *(f"encoder.layer.{n}.attention" for n in range(3)), "classifier", "classifier.0", "classifier.1",
    ]  # fmt: skip
    assert chosen(exclude="encoder") == ["", "embed", "classifier", "classifier.0", "classifier.1"]
    assert chosen(include="encoder.layer.*", exclude="*.attention") == [f"encoder.layer.{n}" for n in range(3)]
    assert chosen(include=["encoder.layer.1"]) == chosen(include=(p for p in ["encoder.layer.1"]))


def test_a_path_that_only_begins_alike_is_another() -> None:
    assert chosen(paths=["layer.1", "layer.10", "layer.1.x"], include="layer.1") == ["layer.1", "layer.1.x"]


def test_layers_count_from_the_end_and_leave_what_is_in_none() -> None:
    outside = ["", "embed", "encoder", "encoder.layer", "classifier", "classifier.0", "classifier.1"]
    for layers, numbers in (([0], [0]), ([-1], [2]), ([0, -1], [0, 2]), ((), []), (range(3), [0, 1, 2])):
        inside = [path for n in numbers for path in (f"encoder.layer.{n}", f"encoder.layer.{n}.attention")]
        assert sorted(chosen(layers=layers)) == sorted(outside + inside)


def test_modules_without_parts_are_no_layers() -> None:
    # GIVEN a classifier of two numbered modules, which have no parts, it is whole whatever is asked for
    assert {"classifier.0", "classifier.1"} <= set(chosen(layers=[2]))
    with pytest.raises(TraceError, match="There is no layer 0: the model has 0 numbered layers"):
        chosen(paths=["", "0", "1"], layers=[0])


def test_a_container_counts_those_of_its_modules_that_have_no_parts() -> None:
    paths = ["", "0", "0.linear", "1", "1.linear", "2"]
    assert chosen(paths=paths, layers=[-1]) == ["", "2"]


def test_each_container_has_its_own_end_and_layers_lie_within_the_outermost() -> None:
    paths = ["a.0.x", "a.1.x", "b.0.x", "b.1.x", "b.2.x.0.y", "b.2.x.1.y"]
    assert chosen(paths=paths, layers=[-1]) == ["a.1.x", "b.2.x.0.y", "b.2.x.1.y"]
    assert chosen(paths=paths, layers=[2]) == ["b.2.x.0.y", "b.2.x.1.y"]


def test_numbers_of_models_are_no_layers() -> None:
    paths = [f"{model}{part}" for model in ("0", "1") for part in ("", ".layer.0.x", ".layer.1.x")]
    assert chosen(paths=paths, layers=[1], models=["0", "1"]) == ["0", "0.layer.1.x", "1", "1.layer.1.x"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": "decoder"}, "No module's path fits 'decoder': there are embed, encoder, encoder.layer, "),
        ({"exclude": ["embed", "nothing"]}, "No module's path fits 'nothing'"),
        ({"layers": [3]}, "There is no layer 3: the model has 3 numbered layers"),
        ({"layers": [-4]}, "There is no layer -4"),
        ({"layers": "0"}, "layers holds '0', which is no whole number"),
        ({"layers": [1.0]}, "layers holds 1.0"),
    ],
)
def test_what_selects_nothing_is_named_with_what_there_is(options: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        chosen(**options)


# -- on a model -------------------------------------------------------------------------------------


def recorded(level: str = "modules", **options: Any) -> tftrace.Trace:
    model, inputs = tiny("bert")
    with torch.no_grad():
        bare = model(**inputs)
        with tftrace.record(model, level=level, **options) as trace:
            assert same(model(**inputs), bare)
    assert trace.meta.get("failure") is None
    return trace


def names(trace: tftrace.Trace) -> list[str]:
    return [step.name for step in trace if step.kind == "module"]


def test_included_modules_stand_below_the_root() -> None:
    everything = names(recorded())
    trace = recorded(include="bert.encoder.layer.1.attention")
    below = [n for n in everything if f"{n}.".startswith("bert.encoder.layer.1.attention.")]
    assert names(trace) == ["", *below] and len(below) > 4
    (attention,) = (step for step in trace if step.name == "bert.encoder.layer.1.attention")
    assert attention.parent is not None and attention.parent.name == "" and attention.depth == 1
    inner = next(step for step in trace if step.name == "bert.encoder.layer.1.attention.self")
    assert inner.parent == attention


def test_excluded_modules_are_left_out_with_all_below() -> None:
    everything = names(recorded())
    assert names(recorded(exclude="*.attention")) == [n for n in everything if ".attention" not in n]


def test_layers_of_a_model() -> None:
    everything = names(recorded())
    for layers, left_out in (([0], 1), ([-1], 0)):
        trace = recorded(layers=layers)
        assert names(trace) == [n for n in everything if f"layer.{left_out}" not in n]


@pytest.mark.parametrize("level", ["functions", "lines", "ops"])
def test_nothing_of_a_left_out_module_is_recorded(level: str) -> None:
    whole = recorded(level).steps.to_pylist()
    out = "bert.encoder.layer.0"
    trace = recorded(level, exclude=out)
    kept = [step for step in whole if not f"{step['name']}.".startswith(f"{out}.")]
    assert [(s["kind"], s["name"], s["line"]) for s in trace.steps.to_pylist()] == [
        (s["kind"], s["name"], s["line"]) for s in kept
    ]
    assert len(kept) < len(whole)
    # AND a module inside what is left out is whole
    inner = "bert.encoder.layer.0.attention"
    trace = recorded(level, include=inner)
    found = [(s["kind"], s["name"]) for s in trace.steps.to_pylist() if f"{s['name']}.".startswith(f"{inner}.")]
    assert found == [(s["kind"], s["name"]) for s in whole if f"{s['name']}.".startswith(f"{inner}.")]
    assert {kind for kind, _ in found} >= {"module", level.removesuffix("s")}
    assert not [s for s in trace.steps.to_pylist() if s["name"].startswith("bert.embeddings")]


def test_layers_of_several_models() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layer:
                x = layer(x)
            return x

    one, two = Stack(), Stack()
    with tftrace.record([one, two], level="modules", layers=[1]) as trace:
        two(one(torch.ones(1, 2)))
    assert names(trace) == ["0", "0.layer.1", "0.layer.1.0", "1", "1.layer.1", "1.layer.1.0"]
