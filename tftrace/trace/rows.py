"""What a trace says of a tensor that a step saw, and of an equation that was checked on it: a row of either table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One row of the tensors table; units as in the schema."""

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
    """One row of the checks table; units as in the schema."""

    step: int
    equation: str
    verdict: str
    residual: float | None
    bound: float | None
    cells: int
    variant: str | None
    reason: str | None
