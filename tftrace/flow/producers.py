"""Which step made a tensor and which took it, by the tensor's number: the same number is the same values.

The tables are sorted by tensor once; each question is then two look-ups, on a million steps as on a hundred."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..trace import schema
from ..trace.trace import Trace


def producer(trace: Trace, position: int, tensor: int) -> int | None:
    """Position of the step that made the tensor which the step at `position` saw: the call that returned it first, or
    the line that bound it. None for what no recorded step made, such as an input of the model or a weight."""
    found = _index(trace, len(trace))
    key = found.key(trace, position, tensor)
    at = -1 if key is None else int(found.maker[key])
    return None if at < 0 else at


def consumers(trace: Trace, position: int, tensor: int) -> list[int]:
    """Positions of the other steps that took the tensor as an input, in order of entry."""
    found = _index(trace, len(trace))
    key = found.key(trace, position, tensor)
    if key is None:
        return []
    takers = found.takers[found.first_taker[key] : found.first_taker[key + 1]]
    return [at for at in takers.tolist() if at != position]


def makes(trace: Trace) -> np.ndarray:
    """For each step whether it returned a tensor that was made in it: a call that hands on what it took makes none."""
    found = _index(trace, len(trace))
    rows = np.flatnonzero(trace.column("role", "tensors") == schema.OUTPUT)
    at, maker = trace.tensor_positions[rows], found.maker[found.keys[rows]]
    made = np.zeros(len(trace), bool)
    made[at[(maker >= at) & (maker < trace.ends[at])]] = True
    return made


@dataclass(frozen=True)
class _Index:
    """Each tensor of each rank has a key; `maker` is its producer or -1, `takers` those that took it, key by key."""

    ranks: np.ndarray
    tensors: np.ndarray
    keys: np.ndarray  # of each row of the tensors table
    maker: np.ndarray
    takers: np.ndarray
    first_taker: np.ndarray

    def key(self, trace: Trace, position: int, tensor: int) -> int | None:
        rank = int(np.searchsorted(self.ranks, trace.column("rank")[position]))
        if not -(2**63) <= tensor < 2**63:
            return None
        number = int(np.searchsorted(self.tensors, tensor))
        known = number < len(self.tensors) and self.tensors[number] == tensor
        return rank * len(self.tensors) + number if known else None


@lru_cache(maxsize=2)
def _index(trace: Trace, size: int) -> _Index:
    position = trace.tensor_positions
    tensors, number = np.unique(
        np.nan_to_num(trace.column("tensor", "tensors"), nan=-1).astype(np.int64), return_inverse=True
    )
    ranks, rank = np.unique(trace.column("rank"), return_inverse=True)
    key = rank[position] * len(tensors) + number
    count = len(ranks) * len(tensors)
    role = trace.column("role", "tensors")
    taken = np.flatnonzero(role == schema.INPUT)
    takes = np.unique(key[taken] * size + position[taken])  # in order of key, then of entry; each step once
    takers, taken_key = takes % max(size, 1), takes // max(size, 1)
    first_taker = np.searchsorted(taken_key, np.arange(count + 1))
    entered = np.full(count, size)  # when the tensor first went into a step
    entered[taken_key[::-1]] = takers[::-1]
    made = np.flatnonzero((role == schema.OUTPUT) | (role == schema.LOCAL))
    # What a step took it did not make, nor what another had taken before this one began.
    made = made[~np.isin(key[made] * size + position[made], takes) & (position[made] < entered[key[made]])]
    at = position[made]
    made = made[np.lexsort((-at, trace.ends[at], key[made]))]  # what ended first made it: the innermost call
    maker = np.full(count, -1)
    maker[key[made[::-1]]] = position[made[::-1]]
    return _Index(ranks, tensors, key, maker, takers, first_taker)
