"""Where the screen of attention maps begins: at the strongest cell that says something."""

from __future__ import annotations

import numpy as np

from tftrace.describe import strongest_cell


def test_it_is_the_largest_weight_of_all_heads() -> None:
    weights = np.full((2, 3, 3), 1 / 3)
    weights[1, 2] = [0.0, 0.9, 0.1]
    assert strongest_cell(weights) == (1, 2, 1)


def test_a_token_that_can_see_only_itself_is_passed_over() -> None:
    causal = np.array([[[1.0, 0, 0], [0.4, 0.6, 0], [0.2, 0.7, 0.1]]])
    assert strongest_cell(causal) == (0, 2, 1)
    assert strongest_cell(np.array([[[1.0]]])) == (0, 0, 0)  # unless there is nothing else
    assert strongest_cell(np.array([[[np.nan, 0.2, 0.8]]])) == (0, 0, 2)
