"""The fused kernels in Triton's interpreter, with the CPU for a device; `test_fused.py` runs this in a process of its
own, as the interpreter must be chosen before Triton is imported."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tftrace
from tftrace.capture.measure import token_prints
from tftrace.capture.measure.fused import kernels, launch, partials, shares
from tftrace.capture.measure.fused.launch import Fused
from tftrace.capture.measure.fused.room import Room
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.summaries import Summaries
from tftrace.capture.measure.token_prints import TokenPrints
from tftrace.capture.torch_internals import disable_dispatch_modes, disable_function_modes
from tftrace.trace.prints import axes, print_of, read, weights

from ...support.stand_in import Watch
from .test_accelerator import accelerator, assert_same

__all__ = ["accelerator"]


class Emulated:
    """A kernel as a device runs it: what the interpreter itself does is nothing that waits."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.launches = 0

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> None:
            self.launches += 1
            with disable_function_modes(), disable_dispatch_modes(), np.errstate(all="ignore"):
                self._kernel[grid](*args, **kwargs)

        return run


@pytest.fixture(autouse=True)
def driven(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Emulated, Emulated]]:
    """Triton drives the CPU; the kernels, which count their launches."""
    monkeypatch.setattr(launch, "DRIVEN", {"cpu"})
    monkeypatch.setattr(launch, "_on", lambda device: contextlib.nullcontext())
    both = Emulated(kernels.statistics), Emulated(kernels.statistics_and_prints)
    monkeypatch.setattr(kernels, "statistics", both[0])
    monkeypatch.setattr(kernels, "statistics_and_prints", both[1])
    yield both


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "scalar": lambda: torch.tensor(-2.5),
    "plain": lambda: torch.randn(1500),
    "several programs": lambda: torch.randn(70, 500, 1, 1, 1).transpose(0, 1) + 3,
    "strided": lambda: torch.randn(2, 3, 4, 5, 14)[..., ::2, :, :, 1::3],
    "expanded": lambda: torch.randn(3, 1, 1, 1, 1).expand(3, 1, 1, 1, 5000),
    "in the midst of a storage": lambda: torch.randn(99)[7:],
    "far from zero": lambda: torch.randn(20_000) * 1e-3 + 1e3,
    "outlier": lambda: torch.cat([torch.tensor([1e6]), torch.randn(999)]),
    "tiny": lambda: torch.randn(99) * 1e-42,
    "large": lambda: torch.randn(99) * 1e38,
    "half": lambda: torch.randn(999).half(),
    "bfloat16": lambda: torch.randn(999).bfloat16(),
    **{f"{kind}": lambda kind=kind: torch.randint(0, 99, (77,)).to(kind) for kind in launch._DOUBLE},  # type: ignore[misc]
    **{f"{kind}": lambda kind=kind: torch.randint(0, 2, (77,)).to(kind) for kind in (torch.bool, torch.int8)},  # type: ignore[misc]
    "large int64": lambda: torch.tensor([2**62, -(2**61), 5]),
    "large uint64": lambda: torch.tensor([2**63 + 2**12, 5], dtype=torch.uint64),
    "constant": lambda: torch.full((3000,), 0.1),
    "zeros": lambda: torch.zeros(3),
    "parameter": lambda: torch.nn.Parameter(torch.randn(7, 3)),
    "not finite": lambda: torch.tensor([math.nan, math.inf, -math.inf]),
    "partly finite": lambda: torch.tensor([1.0, math.nan, 2.0, -math.inf, 0.0, -0.0]).repeat(3000),
    "a program of which nothing is finite": lambda: torch.cat([torch.full((1 << 14,), math.inf), torch.randn(9)]),
}


def assert_near(found: Any, wanted: Any) -> None:
    assert (found.min, found.max, *found[5:]) == (wanted.min, wanted.max, *wanted[5:])
    if wanted.mean is not None:
        for one, other in ((found.mean, wanted.mean), (found.std, wanted.std), (found.l2, wanted.l2)):
            assert one == pytest.approx(other, rel=1e-10, abs=1e-15 * wanted.l2)


@pytest.mark.parametrize("kind", TENSORS)
def test_statistics_are_those_of_the_host(kind: str, driven: tuple[Emulated, Emulated]) -> None:
    torch.manual_seed(0)
    tensor = TENSORS[kind]()
    measured = Fused().measure(tensor, True)
    assert measured is not None and not measured.prints and driven[0].launches == 1
    [found] = partials.merged(measured.table, [measured.programs])
    assert_near(found, summarize(tensor))


SHAPES = [(5, 7), (2, 6, 8), (2, 3, 5, 13), (3, 4, 33), (1, 1, 1), (70, 20), (2, 35, 3, 3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_prints_are_those_of_the_host_bit_for_bit(
    shape: tuple[int, ...], dtype: torch.dtype, driven: tuple[Emulated, Emulated]
) -> None:
    torch.manual_seed(0)
    plain = torch.randn(shape).to(dtype)
    fused = Fused()
    fused.printing = True
    compiled = vars(token_prints)["compiled"]
    if compiled is None:
        pytest.skip("nothing is compiled here")
    for at, tensor in enumerate((plain, plain.transpose(-1, -2), plain[..., ::2]), start=1):
        measured = fused.measure(tensor, True)
        assert measured is not None and driven[1].launches == at
        assert_near(partials.merged(measured.table, [measured.programs])[0], summarize(tensor))
        assert tuple(one.axis for one in measured.prints) == axes(tuple(tensor.shape))
        for one, part in zip(measured.prints, shares.parts(tuple(tensor.shape), tensor.stride()), strict=True):
            by = weights(part.width).astype(np.float64)
            assert one.content == compiled.prints(tensor, one.axis, by)


def test_sums_are_added_in_the_order_of_the_host() -> None:
    # GIVEN numbers whose products cancel, and a small one that is lost if they do so after it was added
    compiled = vars(token_prints)["compiled"]
    if compiled is None:
        pytest.skip("nothing is compiled here")
    fused = Fused()
    fused.printing = True
    by, most = torch.from_numpy(weights(48).copy()), 2.0**60
    every = torch.zeros(1, 3, 2, 16), torch.zeros(2, 48)
    for small, one, other in ((0, 16, 24), (0, 24, 16), (16, 8, 32), (32, 0, 16)):
        runs, row = (x.clone() for x in every)
        for at, number in ((small, torch.tensor(1.25)), (one, by[other] * most), (other, -by[one] * most)):
            runs[0, at // 16, :, at % 16] = row[:, at] = number
        for tensor in (runs, row):
            measured = fused.measure(tensor, True)
            assert measured is not None
            found = measured.prints[-1]
            assert found.content == compiled.prints(tensor, found.axis, by.double().numpy())


def test_wide_tokens_are_shared_among_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN programs that take 64 numbers at least, and tokens with more
    monkeypatch.setattr(shares, "_SHARE", 64)
    shares.parts.cache_clear()
    torch.manual_seed(0)
    fused = Fused()
    fused.printing = True
    for tensor in (torch.randn(2, 3, 200), torch.randn(1, 9, 2, 32), torch.randn(2, 3, 100).half() * 5):
        measured = fused.measure(tensor, True)
        assert measured is not None and measured.programs > 1
        assert_near(partials.merged(measured.table, [measured.programs])[0], summarize(tensor))
        for one in measured.prints:
            wanted = print_of(tensor.double().numpy(), one.axis)
            np.testing.assert_allclose(np.frombuffer(one.content, np.float32), wanted.ravel(), rtol=1e-6)
    shares.parts.cache_clear()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, dtype=torch.float64),
        torch._neg_view(torch.randn(3)),
        torch.zeros(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.empty(3, device="meta"),
        torch.empty(0),
        torch.randn(3).to(torch.float8_e4m3fn),
        torch.randn(4, 4, 4, 4, 4)[::2, ::2, ::2, ::2, ::2],
    ],
    ids=str,
)
def test_what_it_does_not_take_is_left_to_torch(tensor: torch.Tensor) -> None:
    assert Fused().measure(tensor, True) is None


def test_within_transforms_nothing_is_read_that_is_elsewhere() -> None:
    fused, found = Fused(), []

    def look(x: torch.Tensor) -> torch.Tensor:
        found.append(fused.measure(x, True))
        return x.sum()

    torch.vmap(look)(torch.ones(2, 3))
    assert found == [None]


def test_prints_come_of_the_launch_for_statistics_or_one_of_their_own(
    tmp_path: Path, driven: tuple[Emulated, Emulated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    fused = Fused()
    taken, summaries = TokenPrints(tmp_path, (), fused), Summaries(fused)
    whole = torch.randn(2, 3, 8)
    split = whole.view(2, 3, 2, 4)
    owed = summaries.of(whole)
    assert driven[1].launches == 1
    taken.keep((0, (2, 3, 8), "float32", "", 0, 0, owed), whole, "", "output")
    assert driven[1].launches == 1
    taken.keep(
        (1, (2, 3, 2, 4), "float32", "", 0, 0, owed), split, "", "output"
    )  # the same numbers, so measured already
    assert driven[1].launches == 2 and driven[0].launches == 0
    # THEN weights have no prints, and all is read from one place
    assert summaries.of(torch.nn.Parameter(whole)).measured.prints == ()
    assert len({id(owed.measured.room), *(id(one.room) for one in taken._waiting.values())}) == 1
    assert summaries([owed])[0][3] == whole.max().item() and owed.measured is None
    taken.write()
    taken.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_room_that_is_full_is_followed_by_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SMALLEST", 20)
    fused = Fused()
    measured = [fused.measure(torch.full((3,), float(at)), True) for at in range(9)]
    assert [one.room.size for one in measured if one is not None] == [20] * 2 + [40] * 4 + [80] * 3
    assert [partials.merged(one.table, [1])[0].mean for one in measured if one is not None] == [*range(9)]


def recorded(family: Any, level: str) -> tftrace.Trace:
    model, inputs = family("bert")
    with torch.no_grad(), tftrace.record(model, level=level, check=True, values="none") as trace:
        model(**inputs)
    assert "failure" not in trace.meta
    return trace


def test_a_recording_is_the_same_and_waits_for_nothing(
    family: Any, driven: tuple[Emulated, Emulated], request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    made = family("bert")
    wanted = recorded(lambda name: made, "lines")
    watch: Watch = request.getfixturevalue("accelerator")
    rooms: list[Room] = []

    def room(*args: Any) -> Room:
        rooms.append(Room(*args))
        return rooms[-1]

    monkeypatch.setattr(launch, "Room", room)
    found = recorded(lambda name: made, "lines")
    # THEN nothing waited, and statistics and prints lay in one place, which was copied once
    assert watch.during == [] and driven[0].launches + driven[1].launches > 20 and len(rooms) == 1
    assert_same(found, wanted)
    one, other = read(found.path, 0), read(wanted.path, 0)
    assert one.keys() == other.keys() and one
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_a_kernel_that_fails_is_told_once_and_torch_takes_over(
    family: Any, driven: tuple[Emulated, Emulated], request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Emulated, grid: Any) -> Any:
        raise RuntimeError("PassManager::run failed\nand more")

    made = family("bert")
    monkeypatch.setattr(Emulated, "__getitem__", broken)
    wanted = recorded(lambda name: made, "modules")
    request.getfixturevalue("accelerator")
    found = recorded(lambda name: made, "modules")
    assert_same(found, wanted)
    assert found.meta["lost"] == [launch.FAILED.format("RuntimeError: PassManager::run failed")]
