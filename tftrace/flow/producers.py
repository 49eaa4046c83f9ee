"""Which step made a tensor and which steps took it. Tensors with the same number have the same values.

The tables are indexed by tensor once, so that each query is a binary search even on a million steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..trace import schema
from ..trace.trace import Trace


def producer(trace: Trace, position: int, tensor: int) -> int | None:
    """Find the step that made a tensor: the call that returned it first, or the line that bound it.

    Args:
        trace: The trace.
        position: A step that saw the tensor; it selects the rank.
        tensor: The number of the tensor.

    Returns:
        The position of the step; None if no recorded step made it, as for a weight or an input of the model.
    """
    found = _index(trace, len(trace))
    key = found.key(trace, position, tensor)
    at = -1 if key is None else int(found.maker[key])
    return None if at < 0 else at


def consumers(trace: Trace, position: int, tensor: int) -> list[int]:
    """Find the steps that took a tensor as an input, in order of entry, except the step at `position` itself."""
    found = _index(trace, len(trace))
    key = found.key(trace, position, tensor)
    if key is None:
        return []
    takers = found.takers[found.first_taker[key] : found.first_taker[key + 1]]
    return [at for at in takers.tolist() if at != position]


def sightings(trace: Trace, position: int, tensor: int) -> list[tuple[int, str, str]]:
    """Find every row of a tensor on the rank of a step: position, name and role, in order."""
    found = _index(trace, len(trace))
    key = found.key(trace, position, tensor)
    rows = np.flatnonzero(found.keys == key) if key is not None else np.zeros(0, np.int64)
    (name, names), (role, roles) = trace.words("name", "tensors"), trace.words("role", "tensors")
    at = trace.tensor_positions[rows].tolist()
    said = ((names[name[row]] if name[row] >= 0 else "", roles[role[row]]) for row in rows.tolist())
    return [(place, *words) for place, words in zip(at, said, strict=True)]


def makes_tensor(trace: Trace) -> np.ndarray:
    """A boolean column: which steps returned a tensor that they made, rather than one they were given."""
    found = _index(trace, len(trace))
    rows = np.flatnonzero(trace.column("role", "tensors") == schema.OUTPUT)
    at, maker = trace.tensor_positions[rows], found.maker[found.keys[rows]]
    made = np.zeros(len(trace), bool)
    made[at[(maker >= at) & (maker < trace.ends[at])]] = True
    return made


@dataclass(frozen=True)
class _Index:
    """Producers and consumers of all tensors, by a key for each (rank, tensor number)."""

    ranks: np.ndarray
    tensors: np.ndarray
    keys: np.ndarray  # key of each row of the tensors table
    maker: np.ndarray  # position of each key's producer, -1 for none
    takers: np.ndarray  # positions of the consumers, sorted by key
    first_taker: np.ndarray  # where the consumers of each key begin in `takers`

    def key(self, trace: Trace, position: int, tensor: int) -> int | None:
        """The key of a tensor on the rank of a step, None if the trace does not have it."""
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
    takes = np.unique(key[taken] * size + position[taken])  # sorted by key, then by step; each pair once
    takers, taken_key = takes % max(size, 1), takes // max(size, 1)
    first_taker = np.searchsorted(taken_key, np.arange(count + 1))
    entered = np.full(count, size)  # the first step that took the tensor
    entered[taken_key[::-1]] = takers[::-1]
    made = np.flatnonzero((role == schema.OUTPUT) | (role == schema.LOCAL))
    # A step did not make what it took itself, nor what another step had taken before it began.
    made = made[position[made] < entered[key[made]]]
    at = position[made]
    made = made[
        np.lexsort((-at, trace.ends[at], key[made]))
    ]  # the call that ended first, the innermost, is the producer
    maker = np.full(count, -1)
    maker[key[made[::-1]]] = position[made[::-1]]
    return _Index(ranks, tensors, key, maker, takers, first_taker)
