"""Which element of a weight or buffer is NaN or Inf stands in the trace; of sound models nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.first(x))


def noted(model: nn.Module, path: Path, level: str = "lines") -> Any:
    with torch.no_grad(), tftrace.record(model.eval(), path=path, level=level):
        for _ in range(2):
            model(torch.ones(2, 4))
    return tftrace.load(path).meta.get("nonfinite")


@pytest.mark.parametrize("level", ["modules", "ops"])
def test_the_first_bad_element_is_noted(level: str, tmp_path: Path) -> None:
    model = Net()
    with torch.no_grad():
        assert model.norm.running_var is not None
        model.first.weight[2, 1] = model.first.weight[3, 0] = float("nan")
        model.first.bias[3] = float("inf")
        model.norm.running_var[2] = float("nan")
    assert noted(model, tmp_path / "run", level) == {
        "mask": {"what": "inf", "count": 3, "index": [0, 1], "buffer": True},
        "first.weight": {"what": "nan", "count": 2, "index": [2, 1]},
        "first.bias": {"what": "inf", "count": 1, "index": [3]},
        "norm.running_var": {"what": "nan", "count": 1, "index": [2], "buffer": True},
    }


def test_nothing_is_noted_of_a_sound_model_and_no_number_of_a_tensor_moves(tmp_path: Path) -> None:
    class Sound(Net):
        def __init__(self) -> None:
            super().__init__()
            self.mask = torch.zeros(3, 3)

    assert noted(Sound(), tmp_path / "run") is None
    numbers = tftrace.load(tmp_path / "run").column("tensor", "tensors")
    assert sorted(set(numbers.tolist())) == list(range(len(set(numbers.tolist()))))  # buffers have none


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_on_an_accelerator_too(tmp_path: Path) -> None:
    model = Net().cuda()
    with torch.no_grad():
        assert model.norm.running_var is not None
        model.first.weight[2, 1] = float("nan")
    with torch.no_grad(), tftrace.record(model.eval(), path=tmp_path / "run"):
        model(torch.ones(2, 4, device="cuda"))
    assert tftrace.load(tmp_path / "run").meta["nonfinite"]["first.weight"]["index"] == [2, 1]
