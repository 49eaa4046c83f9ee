"""A tensor that an equation only passes on is compared by its memory address, or else read."""

from __future__ import annotations

import pytest
import torch

from tftrace.capture.check.pass_through import Passed
from tftrace.recipes.evaluate.fitting import fit as fitted
from tftrace.recipes.format.recipe import parse

HEADS = parse(
    {
        "id": "heads",
        "cite": "nowhere",
        "tex": "q=a",
        "formula": "q = a; out = z",
        "dims": {"a": "B T (H D)", "q": "B H T D", "z": "B T H D", "out": "B T (H D)"},
        "note": {"en": "-", "zh": "-"},
        "bind": [{"class": "Heads", "a": "arg:a", "q": "arg:q", "z": "arg:z", "out": "return"}],
    },
    "heads.toml",
)
a = torch.randn(1, 5, 6)
z = torch.randn(1, 5, 2, 3)
q = a.view(1, 5, 2, 3).transpose(1, 2)


@pytest.mark.parametrize(
    ("tensors", "same"),
    [
        ({"a": a, "q": q, "z": z, "out": z.view(1, 5, 6)}, True),
        ({"a": a, "q": q, "z": z, "out": z.reshape(1, 5, 6)[:]}, True),
        ({"a": a, "q": q.clone(), "z": z, "out": z.view(1, 5, 6)}, False),  # equal, but somewhere else
        (
            {"a": a, "q": a.view(1, 5, 3, 2).permute(0, 3, 1, 2), "z": z, "out": z.view(1, 5, 6)},
            False,
        ),  # H as D
        ({"a": a, "q": a.view(1, 2, 5, 3), "z": z, "out": z.view(1, 5, 6)}, False),  # not taken apart by positions
        ({"a": a, "q": q.double(), "z": z, "out": z.view(1, 5, 6)}, False),
        ({"a": a, "q": q, "z": z, "out": torch._neg_view(z.view(1, 5, 6))}, False),
        ({"a": a, "q": q, "z": z.flip(2), "out": z.view(1, 5, 6)}, False),
    ],
)
def test_views_of_the_same_numbers_are_known(tensors: dict[str, torch.Tensor], same: bool) -> None:
    fit = fitted(HEADS, tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items()), ())
    passes = Passed(fit)
    assert passes(tensors) is same and passes.cells == 60


def test_an_equation_that_computes_something_passes_nothing_on() -> None:
    sums = parse({**HEADS.data, "formula": "q = a; out = z + 1"}, "heads.toml")
    tensors = {"a": a, "q": q, "z": z, "out": z.view(1, 5, 6)}
    passes = Passed(fitted(sums, tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items()), ()))
    assert not passes(tensors) and passes.cells == 0
