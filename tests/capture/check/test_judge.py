"""Of which cells rounding leaves anything to say, and how cells are taken that NumPy cannot hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tftrace.capture.check.host_arrays import along, take_padded
from tftrace.capture.check.judge import Outcome, _compare, _tiny


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cells_that_rounding_could_explain_whatever_they_are_say_nothing(dtype: torch.dtype) -> None:
    exact = np.array([[1e-3, 2e-3], [1e-3, 1.0], [0.0, 0.0]])
    bound = np.array([[0.1, 0.1], [5.0, 1e-3], [_tiny(dtype)] * 2])
    none, one, zeros = _compare("y", exact.copy(), exact, bound, dtype, [exact[:, :1], exact[:, 1:]])
    assert none == "rounding alone could explain any value of y"
    assert isinstance(one, Outcome) and one.holds and one.cells == 1
    assert isinstance(zeros, Outcome) and zeros.holds and zeros.cells == 2  # only underflow is left
    # AND a cell that differs by more than its bound is wrong all the same
    (wrong,) = _compare("y", exact[:1] + 1, exact[:1], bound[:1], dtype, [exact[:1]])
    assert isinstance(wrong, Outcome) and not wrong.holds


@pytest.mark.parametrize("axis", [0, 1])
def test_places_are_taken_of_torchs_tensors_as_of_arrays(axis: int) -> None:
    x = torch.arange(12.0).view(3, 4)
    inside, places = np.array([2, 0]), np.array([[-1, 0, 2], [1, 4, 9]])
    for take, at in ((along, inside), (take_padded, places)):
        wide = take(x.numpy(), at, axis)
        assert np.array_equal(take(x.bfloat16(), at, axis).float().numpy(), wide)
    assert wide.shape == (*x.shape[:axis], 2, 3, *x.shape[axis + 1 :]) and (wide == 0).any()
