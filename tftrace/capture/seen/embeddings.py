"""Tables on the tape: embeddings times the root of their width, sines and cosines of positions, and tied heads."""

from __future__ import annotations

import math

import torch

from .expressions.activation import PASSING, through
from .expressions.scale import number
from .proposal import Proposal, need
from .tape import Made, Operand

_WIDEST = 1 << 16  # features of which the first row is looked at
_TABLES = frozenset(("part", "same", "shaped", "expand", "set", "joined", "transpose"))  # what a table may come from


def scaled_embedding(made: Made) -> Proposal | None:
    """Rows of a table times √d."""
    one, two = made.get(0, "input"), made.get(1, "other")
    one, two = (one, two) if number(two) is not None else (two, one)
    by = number(two)
    if by is None or not isinstance(one, Operand):
        return None
    table = through(one, PASSING).maker
    if table is None or table.kind != "embedding" or not math.isclose(by, made.shape[-1] ** 0.5, rel_tol=2e-3):
        return None
    rows, weight = table.get(0, "input"), table.get(1, "weight")
    if not isinstance(rows, Operand) or not isinstance(weight, Operand):
        return None
    found = Proposal("scaled-embedding", table.step)
    found.tensors |= {"i": need(rows.tensor), "W": need(weight.tensor), "out": need(made.result)}
    return found


def tied_head(made: Made) -> Proposal | None:
    """A linear map by the very table that embeddings were taken from."""
    given, weight = made.get(0, "input"), made.get(1, "weight")
    if not isinstance(given, Operand) or not isinstance(weight, Operand) or weight.table is None:
        return None
    if made.get(2, "bias") is not None:
        return None
    found = Proposal("tied-head", weight.table)
    found.tensors |= {"x": need(given.tensor), "W": need(weight.tensor), "out": need(made.result)}
    return found


def sinusoids(made: Made) -> Proposal | None:
    """Sines and cosines of positions that are added: known by their first row, of position 0 or of position 1."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    return _table(made, one, two) or _table(made, two, one)


def _table(made: Made, x: Operand, table: Operand) -> Proposal | None:
    if table.maker is not None and table.maker.kind not in _TABLES:
        return None
    shape = table.shape
    if len(shape) < 2 or x.shape[-2:] != shape[-2:] or shape[-1] % 2 or shape[-1] > _WIDEST or shape[-2] < 2:
        return None
    tensor = table.tensor
    if any(size != 1 for size in shape[:-2]) or tensor is None or not tensor.is_cpu or tensor.requires_grad:
        return None
    rows = tensor.reshape(shape[-2:])
    half = shape[-1] // 2
    for sines, cosines in ((rows[:2, ::2], rows[:2, 1::2]), (rows[:2, :half], rows[:2, half:])):
        if (first := _first_position(sines, cosines)) is not None:
            found = Proposal("sinusoids", made.step, {"P": rows})
            base, found.sure = _base(sines, cosines)
            found.values |= {"o": first, "F": base}
            return found
    return None


def _first_position(sines: torch.Tensor, cosines: torch.Tensor) -> float | None:
    """The position of the first of two rows, if they are sines and cosines of positions that follow each other."""
    if bool((cosines[0] == 1).all()) and not sines[0].any():
        return 0.0
    angles = torch.atan2(sines.double(), cosines.double())
    lengths = (sines.double() ** 2 + cosines.double() ** 2 - 1).abs()
    near = max(abs(float(angles[0, 0]) - 1), abs(float(angles[1, 0]) - 2), float(lengths.max()))
    return 1.0 if near < 1e-5 and bool((angles[1] - 2 * angles[0]).abs().max() < 1e-5) else None


def _base(sines: torch.Tensor, cosines: torch.Tensor) -> tuple[float, bool]:
    """The base whose powers the frequencies of a table are, by the second of them, to four figures; and whether all of
    them are. If not, they follow some other rule that is nobody's mistake."""
    angles = torch.atan2(sines.double(), cosines.double())
    steps = angles[1] - angles[0]
    count = len(steps)
    second = float(steps[1]) if count > 1 else 0.0
    if not 0 < second < 1:
        return 10000.0, count < 2
    base = float(f"{second**-count:.4g}")
    meant = base ** (-torch.arange(count, dtype=torch.float64) / count)
    rough = torch.finfo(sines.dtype).eps * 16
    return base, bool(((steps - meant).abs() <= rough + 1e-5 * meant).all())
