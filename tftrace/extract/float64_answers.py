"""What the equations of a step give in float64 on all of its cells, each with the bound on what rounding explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ..errors import TraceError
from ..navigate.difference_kinds import BY_DESIGN, shown_verdict
from ..recipes.evaluate.from_trace import UNITS, FittedEquation, KeptTensors, NotKept, fit_recorded
from ..recipes.evaluate.plan import Statement
from ..recipes.evaluate.value import Array, broadcast_to_dims
from ..recipes.formula.language import FormulaError
from ..trace import schema
from ..trace.rows import CheckRow
from ..trace.trace import Trace
from ..trace.values import read_value

_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-24, "float32": 2.0**-126, "float64": 2.0**-1022}
_MOST_PARTS = 4096  # parts that an equation is evaluated in


@dataclass(frozen=True)
class Answer:
    """What one statement of an equation gives.

    Attributes:
        symbol: The symbol that it defines.
        result: The path of the tensor in what the step returned; None if it is a tensor inside of the step.
        exact: Its cells in float64, in the shape of the recorded tensor.
        bound: How far the run may be from each because of rounding; infinite where nothing can be said.
        returned: What the run has there.
    """

    symbol: str
    result: str | None
    exact: Array
    bound: Array
    returned: Array

    @property
    def holds(self) -> bool:
        """Whether rounding explains the difference at every cell."""
        known = np.isfinite(self.exact) & np.isfinite(self.bound)
        with np.errstate(all="ignore"):
            off = np.abs(self.returned.astype(np.float64) - self.exact)
        return not (known & ~(off <= self.bound) & ~np.isneginf(self.returned)).any()


def answers(trace: Trace, position: int, check: CheckRow) -> list[Answer]:
    """Evaluate an equation on all cells of a step: itself, or the variant that it follows by design.

    Args:
        trace: A trace that has kept the values of the step and of what is below it.
        position: The position of the step.
        check: The check of the equation.

    Returns:
        An answer for each statement that can be evaluated; none if the trace lacks what the equation needs.
    """
    designed = shown_verdict(trace, check) == BY_DESIGN or check.verdict == schema.HOLDS
    try:
        fit = fit_recorded(trace, position, check.equation, as_written=not designed)
    except TraceError:
        return []
    return list(_answers(trace, position, fit))


def _answers(trace: Trace, position: int, fit: FittedEquation) -> Iterator[Answer]:
    own = int(trace.column("step")[position])
    for statement in fit.plan.statements:
        row = fit.tensors[statement.symbol]
        if statement.spread or not row.value or row.dtype not in UNITS:
            continue
        try:
            exact, bound = _evaluated(trace, fit, statement)
            returned = read_value(trace.path, row.value, row.shape)
        except (TraceError, FormulaError, NotKept, MemoryError):
            continue
        bound = bound + UNITS[row.dtype] * np.abs(exact) + _SMALLEST[row.dtype]
        output = row.role == schema.OUTPUT and row.step == own
        yield Answer(
            statement.symbol, row.name if output else None, exact.reshape(row.shape), bound.reshape(row.shape), returned
        )


def _evaluated(trace: Trace, fit: FittedEquation, statement: Statement) -> tuple[Array, Array]:
    """The value and the bound of all cells, one axis for each dimension; in parts where that is too much at once."""
    names = fit.plan.layouts[statement.symbol].names
    sizes = [fit.plan.sizes[name] for name in names]
    exact, bound = np.full(sizes, np.nan), np.full(sizes, np.inf)
    waiting: list[dict[str, range]] = [{}]
    parts = 0
    while waiting:
        drawn = waiting.pop()
        parts += 1
        if parts > _MOST_PARTS:
            raise FormulaError("it is too large to be evaluated on all cells")
        known = KeptTensors(trace, fit, {name: list(at) for name, at in drawn.items()})
        shape = tuple(len(drawn.get(name, range(size))) for name, size in zip(names, sizes, strict=True))
        place = tuple(slice(drawn[n].start, drawn[n].stop) if n in drawn else slice(None) for n in names)
        try:
            found = broadcast_to_dims(known.evaluator().evaluate(statement.body), names, shape)
        except (FormulaError, MemoryError):
            halves = _halves(statement, fit.plan.sizes, drawn)
            if halves is None:
                raise
            waiting += halves
            continue
        exact[place], bound[place] = found.v, found.e
    return exact, bound


def _halves(statement: Statement, sizes: Mapping[str, int], drawn: dict[str, range]) -> list[dict[str, range]] | None:
    """The same cells in two parts, along the longest dimension that cells need only their own position of."""
    now = {name: drawn.get(name, range(sizes[name])) for name in statement.independent}
    longest = max(now, key=lambda name: len(now[name]), default=None)
    if longest is None or len(now[longest]) < 2 or not prod(map(len, now.values())):
        return None
    at = now[longest]
    middle = (at.start + at.stop) // 2
    return [drawn | {longest: range(at.start, middle)}, drawn | {longest: range(middle, at.stop)}]
