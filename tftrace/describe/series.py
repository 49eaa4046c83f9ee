"""A statistic of one tensor through the run: from layer to layer, and from token to token of a generation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace
from .phrases import integer

_NUMBERED = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)")
_MOST = 128  # layers included at most
_AROUND = 32  # forward passes included before and after this one


@dataclass(frozen=True, slots=True)
class Series:
    """A statistic at several steps.

    Attributes:
        labels: The number of the layer or forward pass of each step.
        values: The statistic at each step, None if missing.
        positions: The position of each step.
        here: The index of the current step, -1 if it is not included.
    """

    labels: list[str]
    values: list[float | None]
    positions: list[int]
    here: int


def along_layers(trace: Trace, position: int, row: TensorRow, statistic: str = "l2") -> Series | None:
    """Follow a tensor through the layers of a forward pass, by modules that differ only in the layer number.

    Args:
        trace: The trace.
        position: A step that has the tensor.
        row: The tensor.
        statistic: A column of the tensors table.

    Returns:
        The series; None if the module has no layer number or there is no other layer.
    """
    name = trace.column("name")[position] or ""
    number = _NUMBERED.search(name)
    if number is None:
        return None
    pattern = re.compile(re.escape(name[: number.start()]) + r"(\d{1,6})" + re.escape(name[number.end() :]))
    _, names = trace.words("name")
    same = sorted((int(found[1]), other) for other in names if (found := pattern.fullmatch(other)))
    places = [(label, at) for label, other in same[:_MOST] if (at := _counterpart(trace, position, other)) is not None]
    return _series(trace, position, row, statistic, [(str(label), at) for label, at in places])


def along_forwards(trace: Trace, position: int, row: TensorRow, statistic: str = "l2") -> Series | None:
    """Follow a tensor through the forward passes around this one, by the same call of the same module.

    Arguments as for `along_layers`. None if there is only one forward pass.
    """
    found = _of_same_kind(trace, position, _positions(trace, trace.column("name")[position] or ""))
    occurrences = trace.column("occurrence")
    found = found[occurrences[found] == occurrences[position]]
    here = int(np.searchsorted(found, position))
    near = found[max(0, here - _AROUND) : here + _AROUND].tolist()
    places = [(str(integer(trace, "forward", at)), at) for at in near]
    return _series(trace, position, row, statistic, places)


def _counterpart(trace: Trace, position: int, name: str) -> int | None:
    """The step of the module `name` in the same forward pass that corresponds to the one at `position`."""
    root = position
    while (above := trace.parent(root)) is not None:
        root = above
    named = _positions(trace, name)
    first, last = np.searchsorted(named, [root, int(trace.ends[root])])
    found = _of_same_kind(trace, position, named[first:last])
    return int(found[0]) if len(found) else None


def _of_same_kind(trace: Trace, position: int, found: np.ndarray) -> np.ndarray:
    """Those of the steps with the kind, type and (for a line) source line of the one at `position`."""
    for column in ("kind", "type"):
        codes, _ = trace.words(column)
        found = found[codes[found] == codes[position]]
    if trace.column("kind")[position] == schema.LINE:
        lines = trace.column("line")
        found = found[lines[found] == lines[position]]
    return found


def _positions(trace: Trace, name: str) -> np.ndarray:
    """The steps of a module name, from a cached index."""
    order, starts, codes = _index(trace, len(trace))
    code = codes.get(name)
    return order[starts[code] : starts[code + 1]] if code is not None else order[:0]


@lru_cache(maxsize=2)
def _index(trace: Trace, size: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    codes, names = trace.words("name")
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return order, starts, {name: code for code, name in enumerate(names)}


def _series(
    trace: Trace, position: int, row: TensorRow, statistic: str, places: list[tuple[str, int]]
) -> Series | None:
    if len(places) < 2:
        return None
    values = [_statistic(trace, at, row, statistic) for _, at in places]
    positions = [at for _, at in places]
    here = positions.index(position) if position in positions else -1
    return Series([label for label, _ in places], values, positions, here)


def _statistic(trace: Trace, position: int, row: TensorRow, statistic: str) -> float | None:
    """A statistic of a step's tensor with the role and name of `row`.

    It is read from the columns, because decoding the rows of a hundred layers would delay the screen."""
    start, stop = trace.bounds("tensors")[position : position + 2].tolist()
    (roles, role), (names, name) = trace.words("role", "tensors"), trace.words("name", "tensors")
    for at in range(start, stop):
        if roles[at] >= 0 and role[roles[at]] == row.role and names[at] >= 0 and name[names[at]] == row.name:
            value = float(trace.column(statistic, "tensors")[at])
            return value if value == value else None
    return None
