"""The rows of two runs side by side: pairs of tensors as they were compared, or pairs of steps with the same role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...compare import Comparison, Pair, Place, align
from ...compare.difference_map import mark
from ...navigate.breakpoints import Breakpoint, matching_steps
from ...text import visible
from ...trace.trace import Trace

LEFT_ONLY, RIGHT_ONLY, NOT_COMPARED = "◁", "▷", "·"
REAL = ("≠", "?")  # marks of differences that were born


@dataclass(frozen=True, slots=True)
class PairRow:
    """A row of the list.

    Attributes:
        mark: what was found, as `compare.difference_map.MARKS` has it; ◁ and ▷ for what only one run has.
        label: what it is.
        size: how large the difference is, as text.
        left, right: position of the step in either run, None if it has none.
        pair: index of the pair of tensors, None for what is unpaired and for roles.
        role: the pair of steps, None for tensors.
        bold: whether other rows belong to this one.
    """

    mark: str
    label: str
    size: str = ""
    left: int | None = None
    right: int | None = None
    pair: int | None = None
    role: Pair | None = None
    bold: bool = False


def tensor_rows(found: Comparison) -> list[PairRow]:
    """Every pair of tensors in order, and between them what only one run has."""
    alone: dict[int, list[PairRow]] = defaultdict(list)
    for one in found.unpaired:
        at = one.place.position
        sides = (None, at) if one.right else (at, None)
        alone[one.before].append(PairRow(RIGHT_ONLY if one.right else LEFT_ONLY, _label(one.place), "", *sides))
    rows: list[PairRow] = []
    for at, pair in enumerate(found.tensors):
        rows += alone.get(at, [])
        size = "" if pair.difference == 0 else f"{pair.difference:.1e}"
        rows.append(PairRow(mark(pair), _label(pair.left), size, pair.left.position, pair.right.position, at))
    return rows + alone.get(len(found.tensors), [])


def _label(place: Place) -> str:
    """The path and the tensor, which stand at the end, where long labels keep them."""
    name = place.name or place.type or ""
    return visible(f"{name} {place.tensor}".strip() if place.tensor != name else name)


def role_rows(left: Trace, right: Trace) -> list[PairRow]:
    """The steps of two runs by role, whatever their numbers."""
    rows = []
    for pair in align(left, right):
        lonely = RIGHT_ONLY if pair.left is None else LEFT_ONLY if pair.right is None else NOT_COMPARED
        outer = pair.part == "layer" or pair.layer is None
        label = pair.label.removesuffix(" · layer") if outer else f"  {pair.part}"
        rows.append(PairRow(lonely, label, "", pair.left, pair.right, None, pair, outer))
    return rows


def opening(rows: list[PairRow], found: Comparison) -> int:
    """The row of the first real difference; where there is none, of the largest that rounding explains."""
    by_pair = {row.pair: at for at, row in enumerate(rows) if row.pair is not None}
    if found.first is not None:
        for at, pair in enumerate(found.tensors):
            if (pair.left, pair.right) == (found.first.left, found.first.right):
                return by_pair[at]
    sizes = [pair.difference for pair in found.tensors]
    return by_pair.get(int(np.argmax(sizes)), 0) if sizes else 0


def halting(rows: Sequence[PairRow], traces: Sequence[Trace | None], breakpoints: Sequence[Breakpoint]) -> list[int]:
    """The rows with a breakpoint in either run; a step belongs to the innermost row around it."""
    found: set[int] = set()
    for side, trace in enumerate(traces):
        if trace is None or not breakpoints:
            continue
        of_step = np.full(len(trace), -1)
        for at, row in reversed(list(enumerate(rows))):
            if (position := (row.left, row.right)[side]) is not None:
                of_step[position] = at
        here = np.flatnonzero(np.logical_or.reduce([matching_steps(trace, one) for one in breakpoints]))
        while here.size:
            found.update(of_step[here][of_step[here] >= 0].tolist())
            here = np.unique(trace.parents[here[of_step[here] < 0]])
            here = here[here >= 0]
    return sorted(found)
