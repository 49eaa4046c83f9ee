"""What a question is asked of: a run, the step where the learner stands, and what the lesson gives besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...compare import Comparison
from ...errors import TraceError
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from ..lesson import Place
from ..places import find_place

OF_TENSOR = ("output", "input", "local", "parameter")


@dataclass(frozen=True)
class Asked:
    """The material of a question.

    Attributes:
        trace: the run of the station.
        position: the step where the station is.
        given: what the lesson gives: a token, a tensor, a place …
        other: the run that an experiment recorded, or that a pair looks at.
        compared: the comparison of the two.
    """

    trace: Trace
    position: int
    given: Mapping[str, Any]
    other: Trace | None = None
    compared: Comparison | None = None

    @property
    def at(self) -> int:
        """The step that is asked about: the place that is given, else where the station is."""
        return self.place("at") if "at" in self.given else self.position

    def place(self, key: str) -> int:
        """The position of a place that is given."""
        place: Place = self.given[key]
        found = find_place(self.trace, [place])
        if found is None:
            raise TraceError(f"this run has no {place}.")
        return found

    def tensor(self, key: str = "tensor") -> TensorRow:
        """The tensor of the step that is given by name, or its first result."""
        name = str(self.given.get(key, ""))
        rows = self.trace.tensors_of(self.at)
        fitting = [row for row in rows if row.name == name or (not name and row.role == "output")]
        if not fitting:
            raise TraceError(f"the step has no tensor {name!r}." if name else "the step returned no tensor.")
        return fitting[-1]

    def second(self) -> tuple[Trace, Comparison]:
        """The other run and the comparison."""
        if self.other is None or self.compared is None:
            raise TraceError("the experiment has not been run yet.")
        return self.other, self.compared
