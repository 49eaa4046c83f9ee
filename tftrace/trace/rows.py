"""Rows of the tensors table and of the checks table: a tensor that a step saw, and a verdict on a step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One row of the tensors table; the schema gives the units."""

    step: int
    role: str
    name: str
    tensor: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    numel: int
    nbytes: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    l2: float | None
    nan: int
    inf: int
    zero: int
    value: str | None


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One row of the checks table; the schema gives the units."""

    step: int
    equation: str
    verdict: str
    residual: float | None
    bound: float | None
    cells: int
    variant: str | None
    reason: str | None
