"""summarize: any numbers in any tensor, against the definition in test_stats.py."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace.capture.measure import summary
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.summary import NO_NUMBERS

from .test_stats import BLOCK, REAL, assert_right, offline

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

SHAPES = st.sampled_from(
    [(), (1,), (7,), (3, 5), (2, 1, 9), (31, 33), (4, 5, 6, 7), (2, 3, 257), (2 * BLOCK // 1000, 501)]
)
LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda t: t,
    "transposed": lambda t: t.transpose(0, -1) if t.dim() else t,
    "every other": lambda t: t[..., ::2] if t.dim() else t,
    "shifted": lambda t: t.reshape(-1)[1:] if t.numel() > 1 else t,  # its address is not a multiple of a vector's
    "expanded": lambda t: t.unsqueeze(0).expand(3, *t.shape),
    "negative": lambda t: torch._neg_view(t),
}


@given(
    SHAPES,
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from(REAL),
    st.integers(-30, 30),
    st.sampled_from([0.0, 0.0, 1.0, -30.0, 1e3, 1e5]),
    st.sets(st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])),
    st.integers(0, 10),
)
@settings(offline, max_examples=300)
def test_any_tensor(
    shape: tuple[int, ...],
    layout: str,
    dtype: torch.dtype,
    exponent: int,
    offset: float,
    sprinkled: set[float],
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(shape, generator=generator, dtype=torch.float64) + offset) * 10.0**exponent
    for value in sprinkled:
        values[torch.rand(shape, generator=generator) < 0.1] = value
    assert_right(LAYOUTS[layout](values.to(dtype)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_number_of_a_small_dtype(dtype: torch.dtype) -> None:
    bits = torch.arange(1 << 8 * dtype.itemsize).to(torch.uint8 if dtype.itemsize == 1 else torch.int32)
    everything = (bits if dtype.itemsize == 1 else bits.to(torch.int16)).view(dtype)
    found = assert_right(everything)
    assert found.nan and found.zero == 2
    for number in everything[:: max(len(everything) // 500, 1)]:
        assert_right(number.expand(3))


@pytest.mark.parametrize("dtype", sorted((d for d in summary.REAL if not d.is_floating_point), key=str))
def test_the_ends_of_a_whole_dtype(dtype: torch.dtype) -> None:
    ends = [0, 1] if dtype is torch.bool else [torch.iinfo(dtype).min, 0, 1, 77, torch.iinfo(dtype).max]
    assert_right(torch.tensor(ends).to(dtype) if dtype is torch.bool else torch.tensor(ends, dtype=dtype))


@pytest.mark.parametrize("dtype", sorted(summary._BY_TORCH, key=str))
def test_rare_dtypes(dtype: torch.dtype) -> None:
    assert_right(torch.tensor([1.0, 2.0, 4.0, 0.5]).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["max", "tiny", "smallest_normal"])
def test_a_constant_at_the_end_of_its_dtype(dtype: torch.dtype, kind: str) -> None:
    for value in (getattr(torch.finfo(dtype), kind), -getattr(torch.finfo(dtype), kind)):
        found = summarize(torch.full((5,), value, dtype=dtype))
        assert (found.mean, found.std, found.min, found.max) == (value, 0.0, value, value)


def test_denormals() -> None:
    assert_right(torch.tensor([1e-45, -3e-45, 2e-42, 0.0]))
    assert_right(torch.arange(1, 100, dtype=torch.int32).view(torch.float32))


@pytest.mark.parametrize("size", [*range(1, 40), 63, 64, 65, 127, 255, 257, BLOCK - 1, BLOCK, BLOCK + 1])
def test_every_element_counts(size: int) -> None:
    # GIVEN one number that differs, in the first, a middle and the last place
    for place in {0, size // 2, size - 1}:
        values = torch.zeros(size)
        values[place] = -4.0
        found = summarize(values)
        assert (found.min, found.max, found.zero) == (-4.0, 0.0 if size > 1 else -4.0, size - 1)
        assert found.l2 == 4.0 and found.mean == -4.0 / size
        values[place] = math.nan
        assert summarize(values).nan == 1


def test_zeros_beyond_a_byte_and_a_block() -> None:
    values = torch.zeros(3 * BLOCK)
    values[0], values[-1] = 1.0, -1.0
    assert summarize(values).zero == 3 * BLOCK - 2
    assert summarize(values.double()).zero == 3 * BLOCK - 2


@given(st.integers(1, 3 * BLOCK // 2), st.integers(0, 3))
@settings(offline, max_examples=20)
def test_nearly_constant(size: int, differing: int) -> None:
    # GIVEN numbers that differ by their last bit only
    values = torch.full((size,), 1 / 3)
    values[:differing] = torch.nextafter(values[0], torch.tensor(1.0))
    assert_right(values)


class Raising(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise ValueError("not this one")


class Wrapper(torch.Tensor):
    """As DTensor is: its numbers are in another tensor, and any operator might have to ask other machines."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        pytest.fail(f"{func} was called")


def freed() -> torch.Tensor:
    tensor = torch.randn(100)
    tensor.untyped_storage().resize_(0)
    return tensor


STRANGE: dict[str, Callable[[], torch.Tensor]] = {
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "raising": lambda: torch.randn(3).as_subclass(Raising),
    "wrapper": lambda: Wrapper(torch.randn(3)),
    "transposed wrapper": lambda: Wrapper(torch.randn(3, 4).T),
    "freed": freed,
    "onednn": lambda: torch.randn(3).to_mkldnn(),
    "zero tensor": lambda: torch._efficientzerotensor(3),
    "empty meta": lambda: torch.empty(0, device="meta"),
    "empty complex": lambda: torch.empty(0, dtype=torch.complex64),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore")
def test_strange_tensors(kind: str) -> None:
    assert summarize(STRANGE[kind]()) == NO_NUMBERS


class Plain(torch.Tensor):
    pass


def test_a_subclass_whose_numbers_are_its_own() -> None:
    assert summarize(torch.arange(4.0).as_subclass(Plain)).mean == 1.5


def test_memory_that_cannot_be_written() -> None:
    values = np.linspace(-1, 1, 50, dtype=np.float32)
    values.flags.writeable = False
    with warnings.catch_warnings():  # torch says once that it is not writable
        warnings.simplefilter("ignore")
        tensor = torch.from_numpy(values)
    assert_right(tensor)


def test_an_address_in_the_middle_of_a_number() -> None:
    raw = np.zeros(4 * 33 + 1, np.uint8)
    values = raw[1:].view(np.float32)
    values[:] = np.linspace(-1, 2, 33)
    assert summarize(torch.frombuffer(raw.data, dtype=torch.float32, offset=1)) == summarize(
        torch.from_numpy(values.copy())
    )


def test_a_storage_can_still_be_resized_by_its_owner() -> None:
    # GIVEN tensors that are read in each of the ways there are
    for tensor in (torch.randn(5), torch.randn(4, 5).T, torch.full((5,), math.nan), torch.randn(2 * BLOCK)):
        # WHEN they are summarised
        assert summarize(tensor) != NO_NUMBERS
        # THEN the storage can be given back, as sharded training does with parameters
        tensor.untyped_storage().resize_(0)


def test_arithmetic_stays_as_it_is() -> None:
    assert summarize(torch.tensor([1e-40, 2e-40])).mean == pytest.approx(1.5e-40, rel=1e-4)
    assert (torch.tensor([1e-40]) / 2).item() == pytest.approx(5e-41, rel=1e-3)
    assert float(np.float32(1e-40) / np.float32(2)) == pytest.approx(5e-41, rel=1e-3)
    assert 5e-324 * 1.0 > 0.0


def test_the_same_whatever_the_number_of_threads() -> None:
    tensor, threads = torch.randn(5 * BLOCK), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = summarize(tensor), summarize(tensor.bfloat16()), summarize(tensor + 1e6)
        torch.set_num_threads(2)
        assert (summarize(tensor), summarize(tensor.bfloat16()), summarize(tensor + 1e6)) == one
    finally:
        torch.set_num_threads(threads)
