"""NaN and infinity that finite numbers became never hold, nor are they what rounding could explain; minus infinity with
which a mask is filled is no alarm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")


def verdict(model: nn.Module, *given: torch.Tensor) -> tuple[str, str | None]:
    """The verdict of the one check of a module, and its reason."""
    with tftrace.record(model.eval(), level="lines") as trace:
        model(*given)
    (row,) = trace.checks.to_pylist()
    return row["verdict"], row["reason"]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("large", [False, True])
def test_an_overflow_of_the_result_differs(sign: int, large: bool) -> None:
    model = nn.Linear(128, 8, bias=False).half()
    model.weight.fill_(sign * (20000.0 if large else 100.0))
    expected = "differs" if large else "holds"
    assert verdict(model, torch.ones(2, 128).half())[0] == expected


def test_what_the_equation_itself_makes_of_finite_numbers_does_not_hold() -> None:
    found = verdict(nn.LayerNorm(8, eps=0.0), torch.ones(2, 8))  # 0 / 0
    assert found == ("unchecked", "out is not finite, as the equation has it")
    # AND where nothing is divided by nothing it holds
    assert verdict(nn.LayerNorm(8, eps=0.0), torch.randn(2, 8))[0] == "holds"


def test_one_row_of_nan_among_others_is_enough() -> None:
    x = torch.randn(2, 8)
    x[1] = 1.0
    found = verdict(nn.LayerNorm(8, eps=0.0), x)
    assert found == ("unchecked", "out is not finite, as the equation has it")


def test_nan_where_the_equation_has_a_number_differs() -> None:
    model = nn.Linear(8, 8)
    model.register_forward_hook(lambda module, given, result: result * math.nan)
    assert verdict(model, torch.randn(2, 8))[0] == "differs"


def test_numbers_beside_nan_that_was_handed_in_are_checked() -> None:
    x = torch.randn(4, 8)
    x[1] = math.nan
    assert verdict(nn.Linear(8, 8), x)[0] == "holds"
    assert verdict(nn.Linear(8, 8), torch.full((4, 8), math.nan))[0] == "unchecked"


@pytest.mark.parametrize("fill", [-math.inf, torch.finfo(torch.float32).min])
def test_what_hides_keys_is_no_alarm(fill: float) -> None:
    scores = torch.randn(4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), fill)
    assert verdict(nn.Softmax(-1), scores)[0] == "holds"
