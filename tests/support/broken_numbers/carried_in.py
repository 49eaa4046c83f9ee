"""NaN and Inf in parameters, buffers and inputs."""

from __future__ import annotations

import torch
from torch import nn

from .cases import BRAIN, HALF, Broken, Model, case, numbers


@case
def nan_in_a_weight() -> Broken:
    model = Model(nn.Linear(8, 8))
    with torch.no_grad():
        model.inner.weight[3, 7] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "self.inner(*inputs)", ("inner", "Linear"), "parameter", "weight[3, 7]")


@case
def nan_in_a_bias_of_brain_floats() -> Broken:
    model = Model(nn.LayerNorm(8)).to(BRAIN)
    with torch.no_grad():
        model.inner.bias[2] = float("nan")
    return Broken(model, (numbers(2, 5, 8, dtype=BRAIN),), "self.inner", ("inner", "LayerNorm"), "parameter", "bias[2]")


@case
def inf_in_a_row_of_an_embedding() -> Broken:
    model = Model(nn.Embedding(20, 8))
    with torch.no_grad():
        model.inner.weight[4, 1] = float("inf")
    ids = torch.tensor([[1, 2, 4], [3, 4, 5]])
    return Broken(model, (ids,), "self.inner", ("inner", "Embedding"), "parameter", "weight[4, 1]")


@case
def a_bad_row_that_is_never_looked_up() -> Broken:
    model = Model(nn.Embedding(20, 8))
    with torch.no_grad():
        model.inner.weight[19] = float("nan")
    return Broken(model, (torch.tensor([[1, 2, 4], [3, 4, 5]]),))


@case
def nan_in_a_parameter_of_its_own() -> Broken:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + 1
            return y * self.scale

    model = Model(Scale())
    with torch.no_grad():
        model.inner.scale[5] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "y * self.scale", ("inner", "Scale"), "parameter", "scale[5]")


@case
def nan_in_a_running_mean() -> Broken:
    model = Model(nn.BatchNorm1d(8)).eval()
    model.inner.running_mean[6] = float("nan")
    return Broken(model, (numbers(5, 8),), "self.inner", ("inner", "BatchNorm1d"), "parameter", "running_mean[6]")


@case
def nan_in_a_table() -> Broken:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: torch.Tensor
            self.register_buffer("table", torch.ones(5, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.table

    model = Model(Table())
    model.inner.table[1, 3] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "x + self.table", ("inner", "Table"), "parameter", "table[1, 3]")


@case
def nan_in_an_input() -> Broken:
    x = numbers(2, 5, 8)
    x[1, 3, 2] = float("nan")
    return Broken(Model(nn.Linear(8, 8)), (x,), "", ("", "Model"), "input", "[1, 3, 2]")


@case
def inf_in_an_input() -> Broken:
    x = numbers(2, 5, 8, dtype=HALF)
    x[0, 1, 1] = float("inf")
    return Broken(Model(nn.Identity()), (x,), "", ("", "Model"), "input", "[0, 1, 1]")
