"""One statistic of a tensor followed through the run: from layer to layer, and from token to token of a generation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .. import schema
from ..trace import TensorRow, Trace

_NUMBERED = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)")
_MOST = 512  # places that are looked at


@dataclass(frozen=True, slots=True)
class Series:
    """A value a place, in order; None where the run has none there."""

    labels: list[str]
    values: list[float | None]
    positions: list[int]
    here: int


def along_layers(trace: Trace, position: int, row: TensorRow, statistic: str = "l2") -> Series | None:
    """The same tensor of the same module with another layer number, within this forward; None where the module has no
    number, or the run no other."""
    name = trace.column("name")[position] or ""
    number = _NUMBERED.search(name)
    if number is None:
        return None
    pattern = re.compile(re.escape(name[: number.start()]) + r"(\d{1,6})" + re.escape(name[number.end() :]))
    _, names = trace.words("name")
    same = sorted((int(found[1]), other) for other in names if (found := pattern.fullmatch(other)))
    places = [(label, at) for label, other in same[:_MOST] if (at := _like(trace, position, other)) is not None]
    return _series(trace, position, row, statistic, [(str(label), at) for label, at in places])


def along_forwards(trace: Trace, position: int, row: TensorRow, statistic: str = "l2") -> Series | None:
    """The same tensor of the same module in each forward; None where there is one forward."""
    name = trace.column("name")[position] or ""
    forwards, occurrences = trace.column("forward"), trace.column("occurrence")
    alike = _same_site(trace, position, _positions(trace, name))
    alike = alike[occurrences[alike] == occurrences[position]][:_MOST]
    return _series(trace, position, row, statistic, [(str(int(forwards[at])), at) for at in alike.tolist()])


def _like(trace: Trace, position: int, name: str) -> int | None:
    """The step of that name in the same forward that is called, or stands, as the one at `position` is."""
    forward, at = trace.column("forward"), _positions(trace, name)
    found = _same_site(trace, position, at[forward[at] == forward[position]])
    return int(found[0]) if len(found) else None


def _same_site(trace: Trace, position: int, others: np.ndarray) -> np.ndarray:
    """Those of `others` that are called, or stand, as the step at `position` is."""
    for name in ("kind", "type"):
        codes = trace.words(name)[0]
        others = others[codes[others] == codes[position]]
    if trace.column("kind")[position] == schema.LINE:
        lines = trace.column("line")
        others = others[lines[others] == lines[position]]
    return others


def _positions(trace: Trace, name: str) -> np.ndarray:
    """The steps of a name, from an index that is made once: a million steps have a few hundred names."""
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
    """Read from the columns: to decode whole rows of a hundred layers would take longer than a key may."""
    start, stop = trace.bounds("tensors")[position : position + 2].tolist()
    (roles, role), (names, name) = trace.words("role", "tensors"), trace.words("name", "tensors")
    for at in range(start, stop):
        if roles[at] >= 0 and role[roles[at]] == row.role and names[at] >= 0 and name[names[at]] == row.name:
            value = float(trace.column(statistic, "tensors")[at])
            return value if value == value else None
    return None
