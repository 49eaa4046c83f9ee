"""DeviceSums on a stand-in for an accelerator: the CPU, watched for everything that would wait for a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tftrace.capture.measure import device_stats, stats
from tftrace.capture.measure.device_stats import DeviceSums
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.measure.summary import EMPTY, NO_NUMBERS, Summary

from ...support.stand_in import Calls, Waits

settings.register_profile("stats", derandomize=True, deadline=None, max_examples=100)
offline = settings.get_profile("stats")
BLOCK = 1 << 12  # small enough to have many


def waits(do: Callable[[], object]) -> list[str]:
    with Calls() as calls, Waits() as operators:
        do()
    return [*calls.found, *operators.found]


def on_device(*tensors: torch.Tensor) -> list[Summary]:
    """Their summaries by DeviceSums, of which `add` has not waited."""
    sums = DeviceSums()
    assert waits(lambda: [sums.add(t) for t in tensors]) == []
    return sums.read()


def assert_same(found: Summary, wanted: Summary, rel: float = 1e-6, size: int = 1) -> None:
    assert (found.min, found.max, *found[5:]) == (wanted.min, wanted.max, *wanted[5:])
    if wanted.mean is not None:
        assert wanted.l2 is not None
        scale = wanted.l2 / math.sqrt(size)  # what a mean that cancels is judged by
        assert found.mean == pytest.approx(wanted.mean, rel=rel, abs=max(rel * 1e-6, 1e-14) * scale)
        assert found.std == pytest.approx(wanted.std, rel=rel, abs=1e-15 * scale)
        assert found.l2 == pytest.approx(wanted.l2, rel=rel)


def waiting_reduce(table: torch.Tensor, out: torch.Tensor) -> None:
    finite = table[table.isfinite()]
    out[device_stats._LOW].fill_(finite.min().item())


SYNCHRONISING: dict[str, Callable[[torch.Tensor], object]] = {
    "item": lambda t: t.sum().item(),
    "bool": lambda t: bool(t.any()),
    "tolist": lambda t: t.tolist(),
    "cpu": lambda t: t.cpu(),
    "to": lambda t: t.to("cpu"),
    "to device": lambda t: t.to(device="cpu", dtype=torch.float64),
    "numpy": lambda t: t.numpy(),
    "nonzero": lambda t: t.nonzero(),
    "masked": lambda t: t[t > 0],
    "masked_select": lambda t: t.masked_select(t > 0),
    "copied from the host": lambda t: t + torch.tensor(1.0),
    "copied to another device": lambda t: torch.empty(5, device="meta").copy_(t),
}


@pytest.mark.parametrize("way", SYNCHRONISING)
def test_the_watch_sees_whatever_waits(way: str) -> None:
    assert waits(lambda: SYNCHRONISING[way](torch.randn(5)))


def test_the_watch_sees_a_reduction_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stats, "_reduce", waiting_reduce)
    with pytest.raises(AssertionError, match="item"):
        on_device(torch.randn(5))


def test_on_a_device_that_has_no_numbers_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN tensors without data, where whatever needs a number raises, and so does what mixes them with the CPU's
    monkeypatch.setattr(device_stats, "_BLOCK", BLOCK)
    tensor, sums = torch.empty(3, BLOCK + 7, device="meta"), DeviceSums()
    # WHEN their reductions are enqueued
    rows = sums._rows(tensor) + sums._rows(tensor.half().T[::2]) + sums._rows(tensor.long())
    # THEN nothing raises, and all of their elements are in some row
    assert sum((last - first) * width for _, first, last, width in rows) == tensor.numel() * 2 + 3 * (BLOCK // 2 + 4)
    assert {b.device.type for b in sums._buffers} == {"meta"}
    # AND what waits would have raised
    with pytest.raises((RuntimeError, NotImplementedError)):
        waiting_reduce(tensor, sums._buffers[0])


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "small": lambda: torch.randn(3, 5),
    "scalar": lambda: torch.tensor(-2.5),
    "several blocks": lambda: torch.randn(5, BLOCK) + 3,
    "a block and a bit": lambda: torch.randn(BLOCK + 3),
    "transposed": lambda: torch.randn(40, 300).T,
    "strided": lambda: torch.randn(200, 300)[::3, 1::2],
    "negative": lambda: torch._neg_view(torch.randn(100)),
    "expanded": lambda: torch.randn(3, 1).expand(3, 5000),
    "far from zero": lambda: torch.randn(3 * BLOCK) * 1e-3 + 1e3,
    "float64": lambda: torch.randn(3, BLOCK, dtype=torch.float64) * 1e200,
    "vanishing": lambda: torch.randn(3, BLOCK, dtype=torch.float64) * 1e-200,
    "unlike blocks": lambda: torch.randn(4, BLOCK) * torch.tensor([[1e-30], [1.0], [1e30], [0.0]]),
    "half": lambda: torch.randn(2 * BLOCK).half(),
    "bfloat16": lambda: torch.randn(2 * BLOCK).bfloat16(),
    "float8": lambda: torch.randn(100).to(torch.float8_e4m3fn),
    "int64": lambda: torch.randint(-9, 9, (2 * BLOCK,)),
    "large int64": lambda: torch.tensor([2**62, -(2**61), 5]),
    "bool": lambda: torch.rand(2 * BLOCK) > 0.3,
    "constant": lambda: torch.full((3 * BLOCK,), 0.1),
    "zeros": lambda: torch.zeros(3),
    "parameter": lambda: torch.nn.Parameter(torch.randn(7)),
    "not finite": lambda: torch.tensor([math.nan, math.inf, -math.inf]),
    "partly finite": lambda: torch.tensor([1.0, math.nan, 2.0, -math.inf, 0.0, -0.0]).repeat(BLOCK),
    "a block that is not finite": lambda: torch.cat([torch.full((BLOCK,), math.inf), torch.randn(9)]),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_the_same_as_summarize(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stats, "_BLOCK", BLOCK)
    torch.manual_seed(0)
    tensor = TENSORS[kind]()
    [found] = on_device(tensor)
    assert_same(found, summarize(tensor), size=tensor.numel())


@pytest.mark.parametrize("kind", sorted(TENSORS.keys() - {"float64", "vanishing", "large int64"}))
def test_without_float64(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stats, "_BLOCK", BLOCK)
    monkeypatch.setattr(device_stats, "_SINGLE", {"cpu"})
    torch.manual_seed(0)
    tensor = TENSORS[kind]()
    sums = DeviceSums()
    assert waits(lambda: sums.add(tensor)) == []
    assert {b.dtype for b in sums._buffers} == {torch.float32}
    [found] = sums.read()
    wanted = summarize(tensor)
    assert (found.min, found.max, *found[5:]) == (wanted.min, wanted.max, *wanted[5:])
    if wanted.mean is not None:
        assert wanted.l2 is not None
        scale = wanted.l2 / math.sqrt(tensor.numel())
        assert found.l2 == pytest.approx(wanted.l2, rel=1e-6)
        assert found.mean == pytest.approx(wanted.mean, rel=1e-6, abs=1e-7 * scale)
        assert found.std == pytest.approx(wanted.std, rel=1e-5, abs=1e-7 * scale)


@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=30),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
@settings(offline)
def test_any_numbers(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=dtype)
    [found] = on_device(tensor)
    assert_same(found, summarize(tensor), size=len(values))


def test_summaries_come_in_order_and_are_then_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN more tensors than a buffer has rows, among them some without numbers
    monkeypatch.setattr(device_stats, "_ROWS", 4)
    tensors = [torch.full((2,), float(i)) for i in range(11)]
    tensors[3], tensors[7] = torch.empty(0), torch.zeros(2, dtype=torch.complex64)
    sums = DeviceSums()
    # WHEN they are added and read
    assert [sums.add(t) for t in tensors] == list(range(11))
    assert len(sums._buffers) == 3
    # THEN each copy to the host is of a buffer
    with Calls() as calls:
        found = sums.read()
    assert calls.found.count("cpu") == 3
    wanted = [float(i) for i in range(11)]
    assert [s.mean for i, s in enumerate(found) if i not in (3, 7)] == [w for w in wanted if w not in (3, 7)]
    assert (found[3], found[7]) == (EMPTY, NO_NUMBERS)
    # AND the numbering starts again
    assert sums.read() == []
    assert sums.add(torch.ones(1)) == 0
    assert sums.read()[0].mean == 1.0


def test_what_is_added_is_not_changed_and_may_change_afterwards() -> None:
    tensor = torch.tensor([1.0, math.nan, -3.0], dtype=torch.float64, requires_grad=True) * 2
    before, version, sums = tensor.detach().clone(), tensor._version, DeviceSums()
    sums.add(tensor)
    assert tensor._version == version
    assert torch.equal(tensor.nan_to_num(7.0), before.nan_to_num(7.0))
    tensor.detach().zero_()
    assert sums.read()[0].mean == -2.0


def test_inference_mode_and_after() -> None:
    sums = DeviceSums()
    with torch.inference_mode():
        sums.add(torch.ones(2))
    sums.add(torch.ones(2, requires_grad=True) * 3)
    assert [s.mean for s in sums.read()] == [1.0, 3.0]


def test_no_temporary_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stats, "_BLOCK", BLOCK)

    class Largest(TorchDispatchMode):
        def __init__(self) -> None:
            TorchDispatchMode.__init__(self)
            self.size = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if not func.is_view and isinstance(result, torch.Tensor) and result.dim() and "out" not in (kwargs or {}):
                self.size = max(self.size, result.numel())
            return result

    for tensor in (torch.randn(10, BLOCK), torch.randn(BLOCK, 10).T, torch.randn(10, 2 * BLOCK)[:, ::2]):
        with Largest() as largest:
            DeviceSums()._rows(tensor)
        assert BLOCK // 2 < largest.size <= max(BLOCK, 9 * device_stats._ROWS)


UNREADABLE: dict[str, Callable[[], torch.Tensor]] = {
    "meta": lambda: torch.empty(3, device="meta"),
    "empty meta": lambda: torch.empty(0, device="meta"),
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_readable_numbers(kind: str) -> None:
    assert on_device(UNREADABLE[kind]()) == [NO_NUMBERS]


def test_it_is_used_where_the_tensor_is_not_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(DeviceSums, "read", lambda self: [("from the device", len(self._added))])
    summaries = Summaries()
    assert summaries([summaries.of(torch.randn(5))]) == [("from the device", 1)]
    monkeypatch.setattr(stats, "compiled", None)  # it is not taken in by the line above
    assert summarize(torch.randn(5)) == NO_NUMBERS
