"""The origins of a run's NaN and Inf: one function finds them, and every face says what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from .causes import explain
from .float64_operations import Blame
from .spread import SATURATED, Spread
from .whereabouts import Forward, Where

CAUSES = ("overflow", "masked row", "0·inf", "inf−inf", "log 0", "0/0", "negative root", "parameter", "input", "other")
_LOOKED_AT = 2000  # tensors of an origin that are looked at for whether it stays in padding


@dataclass(frozen=True, slots=True)
class Origin:
    """A step or line that made NaN or Inf of finite numbers, or whose parameter or input brought it in."""

    step: int  # its position
    name: str
    kind: str
    type: str
    file: str | None
    line: int | None
    tensor: str
    what: str  # nan, inf, or saturated: a finite number where torch saturates
    cause: str
    detail: str
    where: Where
    count: int | None  # of the bad numbers
    reached: int  # how many steps returned or bound what came of it, beside its own

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Origins:
    """The origins of a run in the order in which they were made, and how many places made what harms nothing."""

    found: tuple[Origin, ...] = ()
    innocent: int = 0
    at: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # positions of the origins, sorted
    harmed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # and of the steps that they reached

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [one.to_dict() for one in self.found]
        return {"version": 1, "found": bool(found), "origins": found, "innocent": self.innocent}

    def of(self, position: int) -> list[Origin]:
        """Those that a step made."""
        return [one for one in self.found if one.step == position]


def origins(trace: Trace) -> Origins:
    """Where the NaN and Inf of a run were made; worked out once a trace.

    Innocent, and only counted, are -Inf that fills a mask or suppresses tokens, and what reaches no unmasked token."""
    return trace.derived(_origins)


def _origins(trace: Trace) -> Origins:
    spread, forwards = Spread(trace), _Forwards(trace)
    reached = spread.reached()
    found: list[Origin] = []
    harmed: set[int] = set()
    harmless = 0
    for number, birth in enumerate(spread.births):
        if spread.arrived(birth):
            continue
        forward, row = forwards.of(birth.position), spread.tensor(birth)
        blame = explain(trace, spread.ledger, birth, row)
        if birth.how != SATURATED and _is_harmless(trace, spread, number, blame, forwards):
            harmless += 1
            continue
        steps = len(reached[number] - {birth.position})
        harmed |= reached[number] | {birth.position}
        found.append(_origin(trace, birth.position, row, blame, forward.place(row), steps))
    innocent = len(spread.innocent) + harmless + spread.idle_parameters
    at = np.unique(np.array([one.step for one in found], np.int64))
    return Origins(tuple(found), innocent, at, np.array(sorted(harmed), np.int64))


def _is_harmless(trace: Trace, spread: Spread, number: int, blame: Blame, forwards: _Forwards) -> bool:
    """Whether what a birth made reached no token but padding; or was the -Inf that the logarithm of 0 is, and went."""
    birth = spread.births[number]
    pads = forwards.of(birth.position).pads
    if not pads and blame.cause != "log 0":
        return False
    rows = spread.rows_of(number, _LOOKED_AT)
    if rows is None:
        return False
    if blame.cause == "log 0" and not any(row.nan or (trace.parents[at] < 0) for at, row in rows):
        return True
    return pads and all(forwards.of(at).only_padding(row) for at, row in rows)


def _origin(trace: Trace, at: int, row: TensorRow, blame: Blame, where: Where, reached: int) -> Origin:
    bad = (row.nan or 0) + (row.inf or 0)
    return Origin(
        step=at,
        name=str(trace.column("name")[at] or ""),
        kind=str(trace.column("kind")[at] or ""),
        type=str(trace.column("type")[at] or ""),
        **_place(trace, at),
        tensor=row.name or ("output" if row.role == schema.OUTPUT else row.role),
        what="saturated" if not bad else "nan" if row.nan else "inf",
        cause=blame.cause,
        detail=blame.detail,
        where=where,
        count=bad or None,
        reached=reached,
    )


def _place(trace: Trace, at: int) -> dict[str, Any]:
    """The file and line where a step is called, or where what it runs is defined."""
    for file, line in (("file", "line"), ("def_file", "def_line")):
        name, number = trace.column(file)[at], trace.column(line)[at]
        if name and number is not None and number == number:
            return {"file": name, "line": int(number)}
    return {"file": None, "line": None}


class _Forwards:
    """What is known of the batch of each forward, each looked at once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[int, Forward] = {}

    @cached_property
    def _roots(self) -> np.ndarray:
        return np.flatnonzero(self._trace.parents < 0)

    def of(self, position: int) -> Forward:
        root = int(self._roots[np.searchsorted(self._roots, position, side="right") - 1])
        if root not in self._known:
            self._known[root] = Forward(self._trace, root)
        return self._known[root]
