"""summarize: against NumPy in float64, for every kind of tensor a model may hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace.capture.measure import stats, summary
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.summary import NO_NUMBERS, Summary

from ...support.compiled import compiled_part

settings.register_profile("stats", derandomize=True, deadline=None, max_examples=100)
offline = settings.get_profile("stats")
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
BLOCK = stats._BLOCK


@pytest.fixture(autouse=True, scope="module", params=["compiled", "in Python"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is compiled does what is done without it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in Python":
            patch.setattr(stats, "compiled", None)
        elif compiled_part(stats) is None:
            pytest.skip("there was no GCC")
        yield


def expected(values: np.ndarray) -> Summary:
    """The definition: over finite elements, in two passes, with the largest element set to about 1."""
    wide = values.astype(np.float64).reshape(-1)
    finite = wide[np.isfinite(wide)]
    nan, inf = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    if finite.size == 0:
        return Summary(nan=nan, inf=inf, zero=0)
    shift = int(np.clip(-np.frexp(np.abs(finite).max())[1], -1000, 1000))
    scaled = np.ldexp(finite, shift)
    mean = math.fsum(scaled) / scaled.size
    sizes = mean, math.sqrt(math.fsum((scaled - mean) ** 2) / scaled.size), math.sqrt(math.fsum(scaled**2))
    with np.errstate(over="ignore"):  # the root of a sum of squares may be larger than the largest number
        mean, std, l2 = (float(np.ldexp(v, -shift)) for v in sizes)
    return Summary(mean, std, float(finite.min()), float(finite.max()), l2, nan, inf, int((finite == 0).sum()))


def assert_right(tensor: torch.Tensor, rel: float = 1e-6) -> Summary:
    found = summarize(tensor)
    wanted = expected(tensor.detach().resolve_neg().to(torch.float64).numpy())
    assert (found.min, found.max, *found[5:]) == (wanted.min, wanted.max, *wanted[5:])
    if wanted.mean is not None:
        # A mean may cancel to nearly nothing: its error is judged by the size of what was added.
        assert wanted.l2 is not None and wanted.max is not None
        size = wanted.l2 / math.sqrt(tensor.numel()) if math.isfinite(wanted.l2) else abs(wanted.max)
        assert found.mean == pytest.approx(wanted.mean, rel=rel, abs=1e-12 * size)
        # a constant has no spread, but for the rounding of its own mean
        assert found.std == pytest.approx(wanted.std, rel=rel, abs=1e-15 * size)
        assert found.l2 == pytest.approx(wanted.l2, rel=rel)
    return found


REAL = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
WHOLE = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 8, 64), (3, 1, 5), (1, 128, 768), (2, BLOCK + 1)])
def test_floats(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    assert_right(torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype))


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers(dtype: torch.dtype) -> None:
    assert_right(torch.randint(0, 100, (33, 65)).to(dtype))
    assert_right(torch.zeros(5).to(dtype))


def test_large_int64() -> None:
    assert_right(torch.tensor([2**62 + 1, -(2**62), 2**53 + 1, 0]))
    assert summarize(torch.full((BLOCK,), 2**60)).std == 0.0


def test_booleans() -> None:
    found = assert_right(torch.tensor([True, False, True, True]))
    assert (found.mean, found.zero) == (0.75, 1)


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
@settings(offline)
def test_any_float32(values: list[float]) -> None:
    assert_right(torch.tensor(values, dtype=torch.float32))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
@settings(offline)
def test_any_float64(values: list[float]) -> None:
    assert_right(torch.tensor(values, dtype=torch.float64))


@given(st.sampled_from([0.0, 1.0, 1e2, 1e4, -1e4, 1e6]), st.sampled_from([1e-2, 1.0]), st.integers(2, 3 * BLOCK // 2))
@settings(offline, max_examples=40)
def test_mean_far_from_zero(mean: float, std: float, size: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(size)) * std + mean
    assert_right(values)


def test_blocks_with_unlike_means() -> None:
    # GIVEN blocks that each hardly vary, around means that are far apart
    steps = torch.arange(5).repeat_interleave(BLOCK) * 1000.0 + torch.rand(5 * BLOCK)
    assert_right(steps)
    # AND an outlier in the first place, which would spoil a shift by the first element
    steps[0] = 1e30
    assert_right(steps)


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda t: t.transpose(0, 2),
    "permuted": lambda t: t.permute(2, 0, 1),
    "every other": lambda t: t[::2, :, 1::3],
    "expanded": lambda t: t[:, :1].expand(-1, 1000, -1),
    "expanded scalar": lambda t: t[0, 0, 0].expand(300, 700),
    "sliced row": lambda t: t[3],
    "one column": lambda t: t.view(-1, 2)[:, 0],
    "overlapping": lambda t: t.as_strided((500, 500), (1, 1)),
    "diagonal": lambda t: t.view(200, -1).diagonal(),
    "negative": lambda t: torch.view_as_complex(t.view(-1, 2)).conj().imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str) -> None:
    base = torch.randn(40, 50, 100, generator=torch.Generator().manual_seed(1)) + 1
    assert_right(VIEWS[view](base))


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_copied_a_block_at_a_time(view: str) -> None:
    base = torch.randn(40, 50, 100)
    tensor = VIEWS[view](base).detach().resolve_neg()
    blocks = list(summary.flat_parts(tensor, 1024))
    assert all(b.dim() == 1 and b.numel() <= 1024 for b in blocks)
    assert len(blocks) <= 4 * max(tensor.numel() // 1024, 1) + 1  # and they are not crumbs
    assert torch.equal(torch.cat(blocks).sort().values, tensor.reshape(-1).sort().values)


def test_nothing_is_finite() -> None:
    assert summarize(torch.full((3, 4), math.nan)) == Summary(nan=12, inf=0, zero=0)
    assert summarize(torch.tensor([math.inf, -math.inf])) == Summary(nan=0, inf=2, zero=0)


def test_nan_and_inf_are_counted_and_left_out() -> None:
    values = torch.randn(2 * BLOCK + 5)
    values[::7], values[1::11], values[2::13] = math.nan, math.inf, -math.inf
    found = assert_right(values)
    assert found.nan and found.inf
    # AND they may fill a whole block
    values[:BLOCK] = -math.inf
    assert_right(values.half())


def test_minus_zero_is_a_zero() -> None:
    assert summarize(torch.tensor([-0.0, 0.0, 1.0, -1.0])).zero == 2


def test_empty() -> None:
    assert summarize(torch.empty(0, 5)) == Summary(nan=0, inf=0, zero=0)


UNREADABLE: dict[str, Callable[[], torch.Tensor]] = {
    "meta": lambda: torch.empty(3, device="meta"),
    "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_readable_numbers(kind: str) -> None:
    assert summarize(UNREADABLE[kind]()) == NO_NUMBERS


def test_small_dtypes_are_read_or_declined_without_an_exception() -> None:
    for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"):
        if (dtype := getattr(torch, name, None)) is not None:
            found = summarize(torch.ones(4).to(dtype))
            assert found == NO_NUMBERS or found.mean == 1.0
    if hasattr(torch, "float4_e2m1fn_x2"):
        assert summarize(torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)) == NO_NUMBERS


def test_the_tensor_and_its_graph_stay_as_they_are() -> None:
    # GIVEN a tensor in the middle of a graph, one of float64, whose numbers need no copy
    leaf = torch.randn(10, dtype=torch.float64, requires_grad=True)
    middle = leaf * 2 + 1e9
    before, version = middle.detach().clone(), middle._version
    # WHEN it is summarised, as a parameter is
    assert_right(middle)
    assert_right(torch.nn.Parameter(torch.randn(3, 3)))
    # THEN nothing has been written to it and gradients flow
    assert torch.equal(middle, before) and middle._version == version
    middle.sum().backward()
    assert leaf.grad is not None


def test_inference_tensors() -> None:
    with torch.inference_mode():
        tensor = torch.randn(4, 4)
        assert_right(tensor)
    assert_right(tensor)


def test_squares_that_overflow_or_vanish() -> None:
    # The largest float32 squares well in float64 …
    assert_right(torch.tensor([3e38, -3e38, 1.0]))
    assert_right(torch.tensor([1e-45, 0.0, 3e-45]))
    # … float64 itself must be scaled before it is squared.
    for size in (1e200, 1e-161, 1e-200, 1e308, 5e-324):
        assert_right(torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64) * size)
    assert_right(torch.tensor([1e300, 1.0, math.nan, math.inf], dtype=torch.float64))
    # AND where the norm itself is beyond float64 it says so, while mean and std are right
    found = summarize(torch.full((4,), 1.7e308, dtype=torch.float64))
    assert (found.l2, found.mean, found.std) == (math.inf, 1.7e308, 0.0)
