"""Settings under which products of float32 may be computed more coarsely widen the bound only of what the device that
they are for has computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.measure import precision
from tftrace.capture.measure.precision import Precision

pytestmark = pytest.mark.usefixtures("no_grad")
NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")


def _tf32_on_gpus() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


def _high() -> None:
    torch.set_float32_matmul_precision("high")


def _medium() -> None:
    torch.set_float32_matmul_precision("medium")


def _newer_names() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


ALLOWED: list[Callable[[], None]] = [_tf32_on_gpus, _high, _medium, *([_newer_names] if NEWER else [])]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    if NEWER:
        torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.set_float32_matmul_precision("highest")


def conv1d() -> tuple[nn.Module, torch.Tensor]:
    return nn.Conv1d(16, 16, 3), torch.randn(2, 16, 9)


def linear() -> tuple[nn.Module, torch.Tensor]:
    return nn.Linear(64, 64), torch.randn(4, 64)


def projection() -> tuple[nn.Module, torch.Tensor]:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(64, 64), torch.randn(1, 4, 64)


def verdict(model: nn.Module, x: torch.Tensor) -> set[str]:
    with tftrace.record(model.eval(), level="lines") as trace:
        model(x)
    return {row["verdict"] for row in trace.checks.to_pylist()}


@pytest.mark.parametrize("allow", ALLOWED)
@pytest.mark.parametrize("make", [linear, conv1d, projection])
def test_what_gpus_may_do_excuses_nothing_on_the_host(
    make: Callable[[], tuple[nn.Module, torch.Tensor]], allow: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_amx", lambda: False)
    allow()
    model, x = make()
    assert verdict(model, x) == {"holds"}
    model.register_forward_hook(lambda module, given, result: result + 1e-3)
    assert verdict(model, x) == {"differs"}


def test_a_host_with_such_products_may_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_amx", lambda: True)
    assert Precision().unit("cpu", False) == 2.0**-24
    _medium()
    assert Precision().unit("cpu", False) == 2.0**-8
    # AND what a program allows for GPUs alone is no matter of its
    torch.set_float32_matmul_precision("highest")
    _tf32_on_gpus()
    assert Precision().unit("cpu", False) == 2.0**-24


@pytest.mark.parametrize("allow", ALLOWED)
def test_products_on_a_gpu_are_as_coarse_as_is_allowed(allow: Callable[[], None]) -> None:
    assert Precision().unit("cuda", False) == 2.0**-24
    allow()
    assert Precision().unit("cuda", False) == 2.0**-10


def test_autocast_is_looked_at_when_a_product_is_computed() -> None:
    before = Precision()
    with torch.autocast("cpu", torch.bfloat16):
        assert before.unit("cpu", False) == 2.0**-8
    assert before.unit("cpu", False) == 2.0**-24
