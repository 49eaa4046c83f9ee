"""What a tensor was made from, as `MadeFrom` finds it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import tftrace
from tftrace.flow import MadeFrom


class Gathered(nn.Module):
    """Rows that are put into memory one by one, each in place."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(2, 3)
        doubled = x * 2
        found[0] = doubled
        found.add_(y)
        unused = y - 1  # noqa: F841
        return found


def test_what_lines_wrote_into_a_tensor_in_place_it_was_made_from(tmp_path: Path) -> None:
    model, (x, y) = Gathered(), torch.randn(2, 3).unbind()
    with tftrace.record(model, path=tmp_path / "run", level="lines", check=False) as trace:
        model(x, y)
    rows = trace.tensors.to_pylist()
    numbers = {row["name"]: row["tensor"] for row in rows if row["role"] in ("input", "local")}
    output = next(row["tensor"] for row in rows if row["role"] == "output")
    found = {number for number, _ in MadeFrom(trace).of(output, 0)}
    assert {numbers["doubled"], numbers["y"]} <= found
    assert numbers["unused"] not in found and numbers["x"] not in found


class Stacked(nn.Module):
    """Tensors that a list gathers before they are put together."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = []
        for one in (x, y):
            doubled = one * 2
            found.append(doubled)
        unused = y - 1  # noqa: F841
        return torch.stack(found)


def test_what_a_list_gathered_a_tensor_was_made_from(tmp_path: Path) -> None:
    model, (x, y) = Stacked(), torch.randn(2, 3).unbind()
    with tftrace.record(model, path=tmp_path / "run", level="lines", check=False) as trace:
        model(x, y)
    rows = trace.tensors.to_pylist()
    output = next(row["tensor"] for row in rows if row["role"] == "output")
    found = {number for number, _ in MadeFrom(trace).of(output, 0)}
    assert found >= {row["tensor"] for row in rows if row["name"] == "doubled"}
    assert not found & {row["tensor"] for row in rows if row["name"] == "unused"}
