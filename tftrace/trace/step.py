"""The rows of a trace's tables as objects: a step, which knows its place in the tree, a tensor it saw, a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..explain.explain import Explanation
    from .trace import Trace


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One row of the tensors table; units as in the schema."""

    step: int
    role: str
    name: str
    tensor: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    numel: int
    nbytes: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    l2: float | None
    nan: int
    inf: int
    zero: int
    value: str | None


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One row of the checks table; units as in the schema."""

    step: int
    equation: str
    verdict: str
    residual: float | None
    bound: float | None
    cells: int
    variant: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the forward pass: a row of the steps table that knows its tensors and its place in the tree."""

    trace: Trace = field(repr=False, compare=False)
    position: int = field(repr=False)  # row in the trace's tables; the step number where there is one rank
    step: int
    parent_step: int | None = field(repr=False)
    depth: int
    forward: int
    rank: int
    kind: str
    name: str
    type: str
    occurrence: int
    file: str | None
    line: int | None
    end_line: int | None
    col: int | None
    end_col: int | None
    def_file: str | None
    def_line: int | None
    start_ns: int
    duration_ns: int | None
    status: str
    equation: str | None

    @property
    def parent(self) -> Step | None:
        """The step that was running when this one was entered, or None for a root."""
        above = self.trace.parent(self.position)
        return None if above is None else self.trace[above]

    @property
    def children(self) -> list[Step]:
        """The steps entered directly below this one, in order."""
        return [self.trace[i] for i in self.trace.children(self.position)]

    @property
    def tensors(self) -> list[TensorRow]:
        """What the step saw, with statistics; parameters stand with the first call of their module."""
        return self.trace.tensors_of(self.position)

    @property
    def checks(self) -> list[CheckRow]:
        """The verdicts on the step's equations, the principal one first."""
        return self.trace.checks_of(self.position)

    def explain(self, *cell: int, equation: str | None = None, replay: bool = True) -> Explanation:
        """Derive one number of what the step returned: the terms of its equation with their values, largest first.

        `trace[57].explain(0, 3, 7)`. What was not kept comes from running the forward again, unless `replay` is False;
        that needs torch. Raises TraceError if the step has no equation, or there is no such cell."""
        from ..explain.explain import explain

        return explain(self.trace, self.position, cell, equation=equation, replay=replay)

    @property
    def source(self) -> list[str]:
        """The lines of the expression or statement that the step is, as they were when they ran."""
        if self.line is None or self.line < 1:
            return []
        return self.trace.source(self.file)[self.line - 1 : max(self.line, self.end_line or self.line)]

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The paper's equation of the step (cite, tex, formula, dims, note …), or None; `equation` is its id."""
        return self.trace.equation(self.equation)

    def value(self, name: str, role: str | None = None) -> np.ndarray:
        """The numbers of a tensor that the step saw, if they were kept; see `Trace.value`."""
        return self.trace.value(self.position, name, role)

    def _repr_html_(self) -> str:
        from ..card import step_card

        return step_card(self)

    @property
    def call(self) -> Step:
        """The module or function call this step belongs to: itself, or for a line the call that runs it."""
        return self.trace[self.trace.call_of(self.position)]
