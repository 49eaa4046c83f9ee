"""Numbers on the tape: the factor that something was multiplied by, before it came where it is seen."""

from __future__ import annotations

import torch

from ..tape import Made, Operand

_DEEPEST = 24
# What is a linear map of its first operand, or made of parts that are.
_LINEAR = frozenset(
    ("transpose", "permute", "movedim", "turned", "shaped", "same", "expand", "part", "complex", "neg", "where")
)


def number(value: object) -> float | None:
    """A plain number, also where it is a tensor of one number on the host."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Operand):
        tensor = value.tensor
        if tensor is not None and tensor.numel() == 1 and tensor.is_cpu and not tensor.requires_grad:
            return float(tensor.detach().reshape(-1)[0])
        return None
    try:
        return float(value) if type(value).__module__ == "numpy" else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def factor(operand: Operand, deep: int = 0) -> float | None:
    """The factor that a tensor has been multiplied by since a map with weights made it; None where that is not one
    number. A rotation by positions in between changes nothing about it."""
    made = operand.maker
    if made is None or deep > _DEEPEST:
        return 1.0
    if made.kind in ("mul", "div"):
        return _scaled(made, deep)
    if made.kind in ("add", "sub"):
        parts = [part for part in made.args[:2] if isinstance(part, Operand)]
        found = _alike([factor(part, deep + 1) for part in parts]) if len(parts) == 2 else None
        return 1.0 if found is None else found  # no rotation: a sum of different things
    if made.kind == "joined":
        parts = list(made.operands)
        return _alike([factor(part, deep + 1) for part in parts])
    if made.kind in _LINEAR:
        first = made.get(1 if made.kind == "where" else 0, "input")
        return factor(first, deep + 1) if isinstance(first, Operand) else 1.0
    return 1.0


def _scaled(made: Made, deep: int) -> float | None:
    one, two = made.get(0, "input"), made.get(1, "other")
    by = number(two)
    if by is None and made.kind == "mul" and isinstance(two, Operand) and (by := number(one)) is not None:
        one = two
    if not isinstance(one, Operand):
        return 1.0
    before = factor(one, deep + 1)
    if by is None or before is None:
        return before  # by a tensor: a rotation, or a norm's weight
    if by == 0:
        return None
    return before * by if made.kind == "mul" else before / by


def _alike(found: list[float | None]) -> float | None:
    first = found[0] if found else 1.0
    same = all(one is not None and first is not None and abs(one - first) <= 1e-6 * abs(first) for one in found)
    return first if same else None


def is_weight(operand: Operand) -> bool:
    """Whether a tensor is a parameter, or one in another form."""
    made: Made | None = operand.maker
    while made is not None and made.kind in ("transpose", "permute", "turned", "shaped", "same", "expand", "part"):
        first = made.get(0, "input")
        if not isinstance(first, Operand):
            return False
        operand, made = first, first.maker
    tensor = operand.tensor
    return operand.weight or isinstance(tensor, torch.nn.Parameter)
