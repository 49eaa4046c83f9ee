"""Positions of one's own: whether a table of positions is read from its first row on."""

from __future__ import annotations

import torch

from ..expressions.activation import PASSING, through
from ..proposal import Proposal
from ..tape import Made, Operand

_MOST = 1 << 20  # positions that are read


def positions_added(made: Made) -> Proposal | None:
    """Rows of a table one after the other, added to those of tokens: positions, counted from 0 or from 1. Others follow
    tokens that were read before."""
    one, two = made.get(0, "input"), made.get(1, "other")
    if not isinstance(one, Operand) or not isinstance(two, Operand):
        return None
    rows = [_rows(operand) for operand in (one, two)]
    counted = [found for found in rows if found is not None and found[2] in (0, 1)]
    if not counted or all(found is None for found in rows):
        return None
    if len(counted) == 2:
        counted = [found for found in counted if found[2] == 0]  # tokens may stand in a row by chance
    elif not any(_taken(operand) for operand, found in zip((one, two), rows, strict=True) if found is None):
        return None
    if not counted or len(counted) > 1:
        return None
    tensor, since, _ = counted[0]
    return Proposal("positions-in-order", since, {"p": tensor})


def _taken(operand: Operand) -> bool:
    """Whether rows of a table were taken, or a linear map made something of what came in."""
    made = through(operand, PASSING).maker
    while made is not None and made.kind in ("mul", "dropout", "same", "add"):
        first = made.get(0, "input")
        made = first.maker if isinstance(first, Operand) else None
    return made is not None and (made.kind == "embedding" or (made.kind == "part" and _index(made) is not None))


def _rows(operand: Operand) -> tuple[torch.Tensor, int, int] | None:
    """Rows of a table that follow one another: their numbers, since which step, and the first."""
    made = through(operand, PASSING | {"shaped", "expand"}).maker
    if made is None:
        return None
    if made.kind == "embedding":
        index = made.get(0, "input")
        table = made.get(1, "weight")
        if made.get(2, "padding_idx") is not None or not isinstance(table, Operand):
            return None
    elif made.kind == "part":
        if (cut := _slice(made)) is not None:
            return cut
        index = _index(made)
    else:
        return None
    tensor = index.tensor if isinstance(index, Operand) else None
    if tensor is None or tensor.is_floating_point() or not tensor.is_cpu or tensor.numel() > _MOST:
        return None
    last = tensor.shape[-1] if tensor.dim() else 0
    if last < 2 or tensor.dtype is torch.bool:
        return None
    lines = tensor.reshape(-1, last)
    if not bool((lines == lines[0, 0] + torch.arange(last)).all()):
        return None
    return lines[0], made.step, int(lines[0, 0])


def _index(made: Made) -> Operand | None:
    """The numbers of rows in `table[numbers]`."""
    key = made.get(1, "key")
    whole = made.get(0, "input")
    own = made.name == "__getitem__" and isinstance(whole, Operand) and len(whole.shape) == 2
    return key if own and isinstance(key, Operand) else None


def _slice(made: Made) -> tuple[torch.Tensor, int, int] | None:
    """The rows of `table[a:b]`, a parameter of which some are left on both sides or none is in front."""
    whole, key = made.get(0, "input"), made.get(1, "key")
    if not isinstance(whole, Operand) or not whole.weight or made.name != "__getitem__":
        return None
    keys = [one for one in (key if isinstance(key, tuple) else (key,)) if one is not Ellipsis]
    axis = len(whole.shape) - 2
    at = next((at for at, one in enumerate(keys) if isinstance(one, slice) and one != slice(None)), None)
    if at is None or at != axis or any(one != slice(None) for place, one in enumerate(keys) if place != at):
        return None
    start, stop, step = keys[at].indices(whole.shape[axis])
    rest = stop < whole.shape[axis]
    if step != 1 or stop - start < 2 or not (start == 0 or (start == 1 and rest)):
        return None
    return torch.arange(start, stop), made.step, start
