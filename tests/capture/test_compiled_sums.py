"""What is compiled of `stats.py` and `products.py` finds what the same in Python does, and holds on to nothing. What
statistics are, test_stats.py asks, compiled and without."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tftrace.capture.measure import stats
from tftrace.recipes.evaluate import products

from ..support.compiled import compiled_part, held

needs_compiled = pytest.mark.skipif(compiled_part(products) is None, reason="there was no compiler")
needs_gcc = pytest.mark.skipif(compiled_part(stats) is None, reason="there was no GCC")


def summary(x: torch.Tensor) -> Any:
    return compiled_part(stats).summary(x)


# dtypes of which the statistics are compiled
SUMMED = (torch.float32, torch.float64, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32)


@needs_gcc
@pytest.mark.parametrize("dtype", [*SUMMED, torch.int64], ids=str)
def test_statistics_are_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [(torch.randn(size) * 9).abs().to(dtype) for size in (1, 5, 16, 100, 5000, 10_000)]
    every = [summary(x) for x in tensors]
    monkeypatch.setattr(stats, "compiled", None)
    for x, found in zip(tensors, every, strict=True):
        wanted = stats.summarize(x)
        assert found[5:] == wanted[5:] and found[2:4] == wanted[2:4]
        assert found == pytest.approx(wanted, rel=1e-12)
        assert all(type(a) is type(b) for a, b in zip(found, wanted, strict=True))


@needs_gcc
def test_statistics_of_constants() -> None:
    assert summary(torch.zeros(100)) == (0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 100)
    assert summary(torch.full((4,), 1.1)) == pytest.approx((1.1, 0, 1.1, 1.1, 2.2, 0, 0, 0), rel=1e-7)
    assert summary(torch.ones(8, dtype=torch.bool)) == (1.0, 0.0, 1.0, 1.0, 8**0.5, 0, 0, 0)


ODD = {
    "nothing": torch.randn(0, 4),
    "NaN": torch.tensor([1.0, float("nan")]),
    "Inf": torch.tensor([1.0, float("-inf")]),
    "nearly constant": torch.tensor([1e6, 1e6 + 1]),
    "squares that overflow": torch.tensor([1e200, -1e200], dtype=torch.float64),
    "squares that vanish": torch.tensor([1e-160, -1e-160], dtype=torch.float64),
    "a constant whose squares vanish": torch.tensor([1e-160, 1e-160], dtype=torch.float64),
    "no run of memory": torch.randn(4, 4)[:, :2],
    "transposed": torch.randn(4, 3).t(),
    "expanded": torch.randn(3).expand(2, 3),
    "in the middle of a number": torch.zeros(9, dtype=torch.uint8)[1:].view(torch.uint8),
    "half precision": torch.randn(4).half(),
    "eight bits": torch.randn(4).to(torch.float8_e4m3fn),
    "complex": torch.randn(4, dtype=torch.complex64),
    "meta": torch.randn(4, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
}


@needs_gcc
@pytest.mark.parametrize("name", ODD)
def test_of_odd_tensors_nothing_is_said(name: str) -> None:
    x = ODD[name]
    if name == "in the middle of a number":
        numbers = np.zeros(9, np.uint8)[1:].view(np.float32)
        x = torch.from_numpy(numbers)
    assert summary(x) is None
    assert not held([x, None], lambda: summary(x))


@needs_gcc
def test_statistics_hold_on_to_nothing() -> None:
    x = torch.randn(3)
    assert len(summary(x)) == 8
    assert not held([x, None], lambda: summary(x))
    with pytest.raises(TypeError):
        compiled_part(stats).summary()


SINGLE, DOUBLE = np.float32, np.float64


SIZES = [(3, 2, 2, 70), (2, 2, 9, 5), (1, 9, 2, 64), (4, 1, 1, 1), (0, 2, 3, 4), (2, 3, 2, 0)]  # batch, m, n, k


@needs_compiled
@pytest.mark.parametrize("kinds", [(a, b) for a in (SINGLE, DOUBLE) for b in (SINGLE, DOUBLE)], ids=str)
def test_products_are_the_same(kinds: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    draw, cases = np.random.default_rng(0), []
    for (batch, m, n, k), order in itertools.product(SIZES, [(0, 1, 2), (0, 2, 1), (2, 1, 0)]):  # how y lies in memory
        x = draw.standard_normal((batch, m, k)).astype(kinds[0])
        y = draw.standard_normal([(batch, n, k)[axis] for axis in order]).astype(kinds[1]).transpose(np.argsort(order))
        cases.append((x, y, products.products(x, y)))
    monkeypatch.setattr(products, "compiled", None)
    for x, y, found in cases:
        for one, two in zip(found, products.products(x, y), strict=True):
            assert one.dtype == DOUBLE and one.shape == (*x.shape[:2], y.shape[1])
            np.testing.assert_allclose(one, two, rtol=1e-13, atol=1e-13)


@needs_compiled
def test_products_of_what_is_no_number_are_none() -> None:
    x = np.ones((1, 2, 4), SINGLE)
    x[0, 0, 1], x[0, 1, 3] = np.inf, np.nan
    for y in (np.zeros((1, 1, 4)), np.ones((1, 1, 4))):
        v, size = products.products(x, y)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(v, x.astype(DOUBLE) @ y.swapaxes(1, 2))
            np.testing.assert_array_equal(size, np.abs(v))


@needs_compiled
def test_products_refuse_arrays_that_do_not_fit() -> None:
    multiply: Any = compiled_part(products).products
    x, y, v = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.zeros((2, 3, 5))
    multiply(x, y, v, v.copy())
    assert (v == 4).all()
    odd = np.ones((2, 10, 8))[:, ::2, ::2]
    read_only = v.copy()
    read_only.flags.writeable = False
    wrong = [
        (x[0], y, v), (x[:1], y, v), (x[:, :, :3], y, v), (x[:, :2], y, v), (x, y[:, :4], v), (x, y[:, :, :3], v),
        (x.astype(np.float16), y, v), (x.astype(np.int64), y, v), (x, y, v.astype(SINGLE)), (x, y, v[:, :, :4]),
        (x.swapaxes(1, 2).copy().swapaxes(1, 2), y, v), (x, odd, v), (x.astype(">f8"), y, v), (x, y, v[..., None]),
    ]  # fmt: skip
    for arrays in wrong:
        with pytest.raises(ValueError, match="do not fit"):
            multiply(*arrays, np.zeros((2, 3, 5)))
    with pytest.raises((ValueError, BufferError)):
        multiply(x, y, read_only, v)
    for less in ((x, y, v), (x, y, v, v, v), (x, y, v, None)):
        with pytest.raises(TypeError):
            multiply(*less)
