"""A stand-in for an accelerator: the CPU, whose tensors our code takes for a device's. While a model runs nothing may
wait for them, and what is recorded must be the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture import pending_rows, recording
from tftrace.capture.check import cells, checker, verdicts
from tftrace.capture.check.host_arrays import host
from tftrace.capture.measure import device_stats
from tftrace.capture.measure.device_stats import DeviceSums
from tftrace.capture.measure.fetched import fetched
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.measure.summary import Summary
from tftrace.capture.quick import quick_calls

from ...support.stand_in import Watch, count_kernels, stand_in

pytestmark = pytest.mark.usefixtures("no_grad")
FAMILIES = ("bert", "gpt2", "marian")
NUMBERS = ("mean", "std", "min", "max", "l2")
COUNTS = ("nan", "inf", "zero")


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return stand_in(monkeypatch)


def record(model: Any, inputs: dict[str, Any], level: str = "lines", forwards: int = 1) -> tftrace.Trace:
    with tftrace.record(model, level=level, check=True) as trace:
        for _ in range(forwards):
            model(**inputs)
    assert "failure" not in trace.meta
    return trace


def assert_same(found: tftrace.Trace, wanted: tftrace.Trace) -> None:
    own = [name for name in wanted.steps.column_names if name not in ("start_ns", "duration_ns")]
    assert found.steps.select(own).equals(wanted.steps.select(own))
    others = [name for name in wanted.tensors.column_names if name not in (*NUMBERS, "value")]
    assert found.tensors["value"].is_null().equals(wanted.tensors["value"].is_null())
    assert found.tensors.select(others).equals(wanted.tensors.select(others))
    root = np.sqrt(wanted.tensors["numel"].to_numpy())
    size = wanted.tensors["l2"].to_numpy() / np.maximum(root, 1)  # what a mean that cancels is judged by
    for name in NUMBERS:
        one, other = (trace.tensors[name].to_numpy() for trace in (found, wanted))
        close = np.abs(one - other) <= 1e-6 * np.abs(other) + (1e-12 * size if name in ("mean", "std") else 0)
        assert np.array_equal(np.isnan(one), np.isnan(other)) and (close | np.isnan(other)).all(), name
    verdicts = ["step", "equation", "verdict", "cells", "variant", "reason"]
    assert found.checks.select(verdicts).equals(wanted.checks.select(verdicts))
    assert found.checks["verdict"].to_pylist().count("holds") > 10


@pytest.mark.parametrize(
    ("name", "level"),
    [*((name, level) for name in FAMILIES for level in ("modules", "lines")), ("bert", "functions"), ("bert", "ops")],
)
def test_nothing_waits_while_the_model_runs(family: Any, name: str, level: str, request: Any) -> None:
    model, inputs = family(name)
    wanted = record(model, inputs, level)
    watch = request.getfixturevalue("accelerator")
    found = record(model, inputs, level)
    assert watch.during == []
    # THEN one copy brought all statistics, one all cells, one the tokens, one the values, and a few positions and masks
    assert 0 < watch.after.count("cpu") < 8
    # AND cells that lie at equal distances were taken in one piece, not along one axis after another
    assert watch.kernels.count("stack") + watch.kernels.count("cat") < 40
    assert_same(found, wanted)


def test_a_tensor_takes_one_launch_where_triton_drives_the_device(
    family: Any, accelerator: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = family("bert")
    launches = count_kernels(monkeypatch)
    with tftrace.record(model, level="modules", values="none") as trace:
        model(**inputs)
        first = len(launches), len(accelerator.kernels), accelerator.after.count("cpu")
        model(**inputs)
    assert "failure" not in trace.meta and accelerator.during == []
    new = {row.tensor for step in trace if step.forward == 1 for row in step.tensors}
    new -= {row.tensor for step in trace if step.forward == 0 for row in step.tensors}
    # THEN nothing else is launched but for the tokens, and one copy brings everything else
    assert 0 < len(launches) - first[0] <= len(new) and len(accelerator.kernels) - first[1] < 8
    assert first[2] == 2 and accelerator.after.count("cpu") == 4


def summarised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Summaries, tensor: torch.Tensor) -> tuple[Any, ...]:
        sums = DeviceSums()
        sums.add(tensor)
        return tuple(sums.read()[0])

    monkeypatch.setattr(Summaries, "of", at_once)


def cells_by_an_index_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def along(found: torch.Tensor, at: Any, axis: int) -> torch.Tensor:
        return found.index_select(axis, torch.from_numpy(np.asarray(at)).to(found.device))

    monkeypatch.setattr(cells, "along", along)


def cells_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    original = cells._take
    monkeypatch.setattr(cells, "_take", lambda *args: host(original(*args)))


def flushed_in_the_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_NANOSECONDS", 0)
    monkeypatch.setattr(Summaries, "ready", True)


@pytest.mark.parametrize(
    "breaking", [summarised_at_once, cells_by_an_index_from_the_host, cells_on_the_host, flushed_in_the_midst]
)
def test_the_watch_sees_what_waits(
    family: Any, accelerator: Watch, breaking: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch)
    record(*family("bert"))
    assert accelerator.during


def test_reads_are_few_over_many_forwards(family: Any, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = family("gpt2")
    monkeypatch.setattr(recording, "_FORWARDS", 8)
    wanted = record(model, inputs, forwards=20)
    watch, reads, original = request.getfixturevalue("accelerator"), [], DeviceSums.read

    def read(self: DeviceSums) -> list[Summary]:
        reads.append(len(self._added))
        return original(self)

    monkeypatch.setattr(DeviceSums, "read", read)
    found = record(model, inputs, forwards=20)
    # THEN the first forward was written at once, then each eighth, and the rest at the end
    assert watch.during == [] and len(reads) == 4
    assert reads[1] == reads[2] > 8 * 20 and reads[3] * 8 == reads[1] * 3
    assert_same(found, wanted)


def test_the_clock_asks_for_no_read_in_the_midst(
    family: Any, accelerator: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "_NANOSECONDS", 0)
    model, inputs = family("bert")
    record(model, inputs, forwards=3)
    assert accelerator.during == [] and accelerator.after.count("cpu") >= 3


def test_too_many_rows_are_written_all_the_same(family: Any, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = family("bert")
    wanted = record(model, inputs)
    watch = request.getfixturevalue("accelerator")
    monkeypatch.setattr(recording, "_STEPS", 20)
    monkeypatch.setattr(pending_rows, "_KEPT_BACK", 40)
    found = record(model, inputs)
    assert 2 < watch.during.count("cpu") < 200
    # THEN steps that were open when they were written came again, and a tensor's numbers are the same in each batch
    assert_same(found, wanted)


def test_many_cells_are_evaluated_all_the_same(
    family: Any, accelerator: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "_MOST_HELD", 1000)
    trace = record(*family("bert"))
    assert "cpu" in accelerator.during
    assert set(trace.checks["verdict"].to_pylist()) >= {"holds"}


def test_what_stands_for_statistics_can_be_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(quick_calls, "compiled", None)  # which knows better where a tensor is
    monkeypatch.setattr(checker, "_all_routes", {})  # as do routes of recordings before
    known, tensors = Summaries(), [torch.randn(5), torch.tensor([1.0, 3.0]), torch.empty(2, device="meta")]
    first, second, third = (known.of(tensor) for tensor in tensors)
    assert not known.ready
    assert known([second])[0][0] == 2.0 and known.ready
    # THEN all were read at once, and later ones do not disturb the earlier
    more = known.of(torch.tensor([7.0]))
    found = known([first, second, more, third, second])
    assert known.ready and [len(one) for one in found] == [8] * 5
    assert found[0][2] == tensors[0].min().item() and found[2][0] == 7.0 and found[3] == (None,) * 8
    assert found[1] is found[4] and all(type(one) is tuple for one in found)


def test_what_a_device_did_in_any_stream_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Any] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    monkeypatch.setattr(DeviceSums, "_enqueue", lambda self, tensor, printed: self._rows(tensor))
    sums = DeviceSums()
    sums.add(torch.ones(2))
    assert sums.read()[0].mean == 1.0 and waited == []
    device_stats.wait(torch.device("meta"))
    assert waited == [torch.device("meta")]


def test_a_read_that_fails_ends_the_recording_and_leaves_the_model_alone(
    accelerator: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any) -> Any:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(DeviceSums, "read", broken)
    model = nn.Linear(2, 2)
    with pytest.warns(RuntimeWarning, match="device-side assert"), tftrace.record(model) as trace:
        assert model(torch.ones(1, 2)).shape == (1, 2)
        model(torch.ones(1, 2))
    assert "device-side assert" in trace.meta["failure"]


def test_what_is_fetched_is_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [torch.tensor(3), torch.randn(2, 3).bfloat16(), torch.tensor([True, False, True]), torch.randn(0, 4)]
    every += [torch.randn(4, 3).T, torch.randn(3, dtype=torch.float64), torch.arange(5, dtype=torch.int8)]
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    found = fetched(every)
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(found, every, strict=True))
