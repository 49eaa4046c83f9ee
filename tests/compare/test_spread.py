"""A run that is spread over two processes against one that is not: shards are put together, and faults are found."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tftrace import Trace
from tftrace.compare import TraceSide, compare_runs
from tftrace.compare.alignment.shards import _alike, axis_of, put_together, together
from tftrace.compare.alignment.side import Made
from tftrace.compare.same_weights import weights_of

from ..capture.test_parallel import recorded as recorded_by_two
from ..support.parallel import Two
from .runs import answer, first_place, is_sound, named, recorded

Single = tuple[nn.Module, torch.Tensor]


def of_torch(folder: Path) -> Single:
    torch.manual_seed(0)
    return Two(), torch.randn(2, 5, 16)


def of_transformers(folder: Path) -> Single:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    torch.manual_seed(1)
    return model, torch.randint(0, 100, (2, 7))


def faulty(model: nn.Module) -> tuple[nn.Module, str]:
    """The model with another epsilon in its second layer, and where that is."""
    other = copy.deepcopy(model)
    norms = [(path, one) for path, one in other.named_modules() if "norm" in path and "1" in path]
    path, norm = norms[0]
    setattr(norm, "eps" if hasattr(norm, "eps") else "variance_epsilon", 1e-2)
    return other, path


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun are used otherwise there")
@pytest.mark.parametrize(
    ("way", "single"),
    [
        pytest.param("torch", of_torch, marks=pytest.mark.slow),
        pytest.param("transformers", of_transformers, marks=pytest.mark.slow),
        pytest.param("fsdp", of_torch, marks=pytest.mark.slow),
    ],
)
def test_two_processes_are_as_one(way: str, single: Callable[[Path], Single], tmp_path: Path) -> None:
    spread = {Path(trace.path).stem: trace for trace in recorded_by_two(way, tmp_path)}
    model, given = single(tmp_path)
    other, path = faulty(model)
    for level in ("modules", "lines"):
        two = spread[f"{level}-eval"]
        one = recorded(tmp_path / f"one-{level}", model, partial(model, given), level=level)
        found = answer(one, two)
        assert is_sound(found) and found.pairs.rounding + found.pairs.equal > 8, found.sentence
        assert named(found) == set()  # their weights, too
        assert is_sound(answer(two, one))
        bad = recorded(tmp_path / f"bad-{level}", other, partial(other, given), level=level)
        for left, right in ((bad, two), (two, bad)):
            found = answer(left, right)
            assert found.verdict == "differs" and path in first_place(found), (found.sentence, path)
        placements = two.meta["placements"]
        assert placements and {kind for kinds in placements.values() for kind in kinds} <= {
            "shard 0",
            "shard 1",
            "replicate",
        }


@pytest.mark.slow
def test_a_weight_that_differs_in_one_shard_is_named(tmp_path: Path) -> None:
    spread = recorded_by_two("torch", tmp_path)[0]
    model, given = of_torch(tmp_path)
    with torch.no_grad():
        model.layers[1].up.weight[20:].mul_(1.05)  # type: ignore[union-attr, index]
    found = answer(recorded(tmp_path / "one", model, partial(model, given), level="modules"), spread)
    assert found.verdict == "differs" and "layers.1.up" in first_place(found)
    assert [one.names for one in found.before if one.what == "weights"] == [("layers.1.up.weight",)]


def part(numbers: np.ndarray) -> Made:
    numbers = numbers.astype(np.float64)
    statistics = (numbers.mean(), numbers.std(), numbers.min(), numbers.max(), float(np.linalg.norm(numbers)))
    return Made(0, 0, 0, "", numbers.shape, "float32", statistics, 0, None, None)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_statistics_of_parts_add_up(axis: int) -> None:
    whole = np.random.default_rng(0).normal(3, 2, (2, 6, 10))
    parts = np.array_split(whole, [1] if axis == 0 else [2], axis)
    made = together([part(one) for one in parts], [one.size for one in parts], axis)
    assert made.shape == whole.shape and made.value is None
    assert made.statistics == pytest.approx(part(whole).statistics, rel=1e-12)
    assert axis_of([one.shape for one in parts], whole.shape) == axis


def test_parts_that_do_not_make_up_the_whole_are_no_parts() -> None:
    assert axis_of([(2, 5), (2, 5)], (2, 5)) is None  # as large as the whole: sums that are not summed yet
    assert axis_of([(2, 4), (2, 5)], (2, 10)) is None
    assert axis_of([(2, 5), (3, 5)], (2, 10)) is None
    assert axis_of([(2, 5), (2, 5)], (4, 10)) is None
    assert axis_of([(5,), (5,)], (2, 10)) is None


def test_processes_that_hold_other_numbers_are_not_alike() -> None:
    one, other = part(np.arange(6)), part(np.arange(6) * 2.0)
    assert _alike(one, one) and not _alike(one, other) and not _alike(one, replace(one, nonfinite=1))
    unknown = replace(one, statistics=(float("nan"),) * 5)
    assert not _alike(unknown, unknown)


def test_two_runs_of_two_processes_and_two_of_one_are_left_as_they_are(tmp_path: Path) -> None:
    model, given = of_torch(tmp_path)
    trace: Trace = recorded(tmp_path / "one", model, partial(model, given), level="modules")
    sides = TraceSide(trace), TraceSide(trace)
    assert put_together(*sides) == sides
    assert compare_runs(*sides).verdict == "equal" and len(weights_of(sides[0])) == 12


def test_numbers_of_a_weight_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight[0, 1:3] = float("nan")
        layer.weight[1, 0] = float("inf")
    side = TraceSide(recorded(tmp_path / "one", layer, partial(layer, torch.ones(1, 4)), level="modules"))
    assert {one.name: one.made.nonfinite for one in weights_of(side)} == {"weight": 3, "bias": 0}
