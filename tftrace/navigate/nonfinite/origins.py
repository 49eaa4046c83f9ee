"""The origins of a run's NaN and Inf: one function finds them, and every face says what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...trace import schema
from ...trace.trace import Trace
from .causes import explain
from .spread import SATURATED, Birth, Spread
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
    spread = Spread(trace)
    harmless = _harmless(trace, spread)
    reached = spread.reached()
    forwards = _Forwards(trace)
    found = tuple(
        _origin(trace, spread, birth, forwards.of(birth.position), len(reached[at] - {birth.position}))
        for at, birth in enumerate(spread.births)
        if at not in harmless
    )
    innocent = len(spread.innocent) + len(harmless) + spread.idle_parameters
    return Origins(found, innocent, np.unique(np.array([one.step for one in found], np.int64)))


def _origin(trace: Trace, spread: Spread, birth: Birth, forward: Forward, reached: int) -> Origin:
    at, row = birth.position, spread.tensor(birth)
    blame = explain(trace, spread.ledger, birth, row)
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
        where=forward.place(row),
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
        self._roots = np.flatnonzero(trace.parents < 0)
        self._known: dict[int, Forward] = {}

    def of(self, position: int) -> Forward:
        root = int(self._roots[np.searchsorted(self._roots, position, side="right") - 1])
        if root not in self._known:
            self._known[root] = Forward(self._trace, root)
        return self._known[root]


def _harmless(trace: Trace, spread: Spread) -> set[int]:
    """The births of which nothing reached a token that is not padding."""
    forwards = _Forwards(trace)
    found = set()
    for number, birth in enumerate(spread.births):
        if forwards.of(birth.position).pads and birth.how != SATURATED:
            rows = spread.rows_of(number, _LOOKED_AT)
            if rows is not None and all(forwards.of(at).only_padding(row) for at, row in rows):
                found.add(number)
    return found
