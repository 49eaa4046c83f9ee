"""Explains one number of a run: the terms of its equation with their actual values, and where each came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TraceError
from ..flow import producer
from ..navigate.value_advice import way_to_keep
from ..recipes.evaluate import from_trace
from ..recipes.evaluate.bindings import bindings_of
from ..recipes.evaluate.mixture import mixture
from ..recipes.evaluate.plan import Statement
from ..recipes.evaluate.terms import Factor, Summand, Terms, tensor_of
from ..recipes.formula.nodes import Lookup, Node, Select, inline
from ..trace import schema, tokens
from ..trace.rows import TensorRow
from ..trace.trace import Trace

if TYPE_CHECKING:
    from ..recipes.evaluate.from_trace import FittedEquation

# (trace, position) -> a new run of the same forward pass with the values of that step kept, and its position there.
Replay = Callable[[Trace, int], AbstractContextManager[tuple[Trace, int]]]

# Shown to the user: where the numbers come from.
KEPT, REPLAYED = "from the values that the trace has kept", "from a replay: the forward was run again"


@dataclass(frozen=True, slots=True)
class Part:
    """One factor of a term.

    Attributes:
        text: The symbol or expression.
        value: Its value.
        tensor: The tensor that it is a cell of; None for the value of an expression.
        cell: The index of that cell; None for the value of an expression, or if unknown.
        line: `file:line` where the tensor was made, or where the module that holds it is called.
        step: Position of that step.
        inverse: Whether the term is divided by this factor.
    """

    text: str
    value: float
    tensor: TensorRow | None
    cell: tuple[int, ...] | None
    line: str
    step: int | None
    inverse: bool


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum.

    Attributes:
        value: Its value.
        parts: Its factors.
        along: Its indices along the dimensions that are summed over, as (dimension, index).
        token: The token that it came from, if attention mixes tokens.
    """

    value: float
    parts: tuple[Part, ...]
    along: tuple[tuple[str, int], ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cell of the result of an equation as a sum of terms.

    Attributes:
        equation: The id of the equation.
        cite: The citation of its paper.
        formula: Its formula.
        variant: The variant that fits this run, if any.
        symbol: The symbol of the result.
        tensor: The tensor that has the cell.
        cell: The index of the cell.
        token: The token that the cell belongs to.
        value: The recorded number.
        total: The sum of the terms in float64.
        bound: The largest difference between `value` and `total` that rounding explains.
        terms: The terms, largest magnitude first; empty if `reason` says why there are none.
        how: Where the numbers come from: `KEPT` or `REPLAYED`.
        reason: A sentence that says why there are no terms, else empty.
    """

    equation: str
    cite: str
    formula: str
    variant: str | None
    symbol: str
    tensor: TensorRow | None
    cell: tuple[int, ...]
    token: str | None
    value: float
    total: float
    bound: float
    terms: tuple[Term, ...]
    how: str
    reason: str

    @property
    def matches(self) -> bool:
        """Whether the sum agrees with the recorded number within the bound."""
        return bool(self.terms) and (abs(self.total - self.value) <= self.bound or self.total == self.value)


def explain(
    trace: Trace,
    position: int,
    cell: Sequence[int] | None = None,
    *,
    equation: str | None = None,
    replay: Replay | None = None,
) -> Explanation:
    """Explain one cell of the result of a call by the terms of its equation.

    Args:
        trace: The trace.
        position: A step; the call that contains it is explained.
        cell: The index of the cell along each axis; negative indices count from the end. By default that of the number
            largest in magnitude.
        equation: The id of one of the call's equations; by default the one that gives its result.
        replay: Runs the forward pass again if values were not kept (`replay.replayed`); None to use kept values only.

    Returns:
        The explanation. If values are missing and cannot be computed, it has no terms and a `reason`.

    Raises:
        TraceError: The call has no equation, the equation does not fit it, or there is no such cell.
    """
    call = trace.call_of(position)
    names = from_trace.equations_of(trace, call)
    if equation is not None:
        names = [name for name in names if name == equation]
    if not names:
        which = f"has no equation {equation!r}" if equation else "has no equation"
        raise TraceError(f"Step {position} {which}, so its numbers cannot be explained.")
    wanted = None if cell is None else tuple(cell)
    try:
        return _explained(trace, call, wanted, names, KEPT)
    except from_trace.NotKept as missing:
        if replay is None or not isinstance(trace.meta.get("source"), str):  # nothing says which model ran
            reason = f"{missing}: record with {way_to_keep(trace)}."
            return _unexplained(trace, call, names[0], wanted, reason)
        reason = str(missing)
    try:
        with replay(trace, call) as (again, there):
            found = _explained(again, there, wanted, names, REPLAYED)
            return found if _same(trace, call, found) else replace(found, how=f"{REPLAYED}, and gave other numbers")
    except TraceError as error:
        return _unexplained(trace, call, names[0], wanted, f"{reason}, and the forward cannot be run again: {error}")


def _same(trace: Trace, position: int, found: Explanation) -> bool:
    """Whether the tensor of a replay has the statistics of the recorded one."""
    now, then = found.tensor, bindings_of(trace, position, found.equation).tensors.get(found.symbol)
    if now is None or then is None or now.shape != then.shape:
        return False
    pairs = ((now.mean, then.mean), (now.std, then.std), (now.l2, then.l2), (now.min, then.min), (now.max, then.max))
    return all(a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-5)) for a, b in pairs)


def _explained(
    trace: Trace, position: int, cell: tuple[int, ...] | None, names: Sequence[str], how: str
) -> Explanation:
    """Explain by the first equation that gives the result of the call, else by the first that fits."""
    failed: TraceError | None = None
    found: list[tuple[FittedEquation, Statement]] = []
    for name in names:
        try:
            fit = from_trace.fit_recorded(trace, position, name)
        except TraceError as error:
            failed = failed or error
            continue
        found += [(fit, statement) for statement in fit.plan.statements]
    if not found:
        raise TraceError(f"The equation cannot be fitted to this step: {failed}")
    step = int(trace.column("step")[position])

    def returned(pair: tuple[FittedEquation, Statement]) -> tuple[bool, bool]:
        row = pair[0].tensors[pair[1].symbol]
        return row.role == schema.OUTPUT and row.step == step and row.name in ("", "[0]", "logits"), pair[
            1
        ].symbol == "out"

    fit, statement = max(found, key=returned)
    return _cell(trace, position, fit, statement, cell, how)


def _cell(
    trace: Trace, position: int, fit: FittedEquation, statement: Statement, cell: tuple[int, ...] | None, how: str
) -> Explanation:
    """Explain one cell of the result of a fitted statement."""
    row = fit.tensors[statement.symbol]
    if cell is None:
        cell = _largest(from_trace.KeptTensors(trace, fit, {}).array(statement.symbol))
    if len(cell) != len(row.shape) or not all(-n <= at < n for at, n in zip(cell, row.shape, strict=True)):
        shape = "×".join(map(str, row.shape)) or "a scalar"
        problem = f"There is no cell {','.join(map(str, cell))}" if cell else "No cell is named"
        last = ",".join(str(n - 1) for n in row.shape)
        way = f"name a position along each axis, up to {last}" if row.shape else 'its only one is --cell ""'
        raise TraceError(f"{problem}: {way}. {f'`{row.name}`' if row.name else 'The result'} is {shape}.")
    cell = tuple(at % n for at, n in zip(cell, row.shape, strict=True))
    where = _positions(fit, statement.symbol, cell)
    drawn = {dim: at for dim, at in where.items() if dim in statement.independent}
    known = from_trace.KeptTensors(trace, fit, {dim: [at] for dim, at in drawn.items()})
    value = float(known.array(statement.symbol)[cell])
    evaluator = known.evaluator()
    terms = Terms(evaluator, drawn)
    summands = terms.of(statement.body, where)
    mixed = mixture(_inlined(fit, statement))
    keys = evaluator.evaluate(mixed.weights).dims[-1:] if mixed is not None else ()
    batch = cell[0] if len(cell) > 1 else 0
    describer = _Describer(trace, position, fit, keys, batch)
    ordered = sorted(summands, key=lambda summand: -abs(summand.value) if not math.isnan(summand.value) else -math.inf)
    return Explanation(
        equation=fit.equation.id,
        cite=fit.equation.cite,
        formula=fit.formula.source,
        variant=fit.variant,
        symbol=statement.symbol,
        tensor=row,
        cell=cell,
        token=describer.token_of(row, cell),
        value=value,
        total=_sum([summand.value for summand in summands]),
        bound=terms.bound(statement.body, where) + fit.unit * abs(terms.value(statement.body, where)),
        terms=tuple(map(describer.term, ordered)),
        how=how,
        reason="",
    )


def _largest(numbers: np.ndarray) -> tuple[int, ...]:
    """The cell of the number that is largest in magnitude; of a tensor without finite numbers the first."""
    if not numbers.size:
        raise TraceError("The result is empty, so it has no number that could be explained.")
    size = np.where(np.isfinite(numbers), np.abs(numbers), -1)
    return tuple(int(at) for at in np.unravel_index(int(size.argmax()), size.shape))


def _sum(values: list[float]) -> float:
    """The exactly rounded sum; plain if a value is NaN or infinite, which `fsum` does not take."""
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _inlined(fit: FittedEquation, statement: Statement) -> Node:
    """The statement's expression with the definitions of other statements' symbols inlined."""
    return inline(statement.body, {s.symbol: s.body for s in fit.plan.statements if s.symbol != statement.symbol})


def _positions(fit: FittedEquation, symbol: str, cell: tuple[int, ...]) -> dict[str, int]:
    """The index of a cell along each named dimension; one axis may combine several dimensions."""
    found = {}
    for at, names in zip(cell, fit.plan.layouts[symbol].axes, strict=True):
        for name in reversed(names or ()):
            at, found[name] = divmod(at, fit.plan.sizes[name])
    return found


def _unexplained(trace: Trace, position: int, name: str, cell: tuple[int, ...] | None, reason: str) -> Explanation:
    recipe = trace.equation(name) or {}
    cite, formula = (str(recipe.get(key) or "") for key in ("cite", "formula"))
    unknown = math.nan
    return Explanation(
        name, cite, formula, None, "out", None, cell or (), None, unknown, unknown, unknown, (), "", reason
    )


class _Describer:
    """Names the tensors, source lines and tokens of terms."""

    def __init__(self, trace: Trace, position: int, fit: FittedEquation, keys: tuple[str, ...], batch: int) -> None:
        self._trace, self._position, self._fit, self._keys = trace, position, fit, keys
        self._batch = batch
        self._lines: dict[str, tuple[str, int | None]] = {}

    def term(self, summand: Summand) -> Term:
        token = None
        for dim, at in summand.along.items():
            if dim in self._keys:
                known = tokens.along(self._trace, self._position, self._fit.plan.sizes[dim], self._batch, keys=True)
                token = known[at] if at < len(known) else None
        return Term(summand.value, tuple(map(self._part, summand.factors)), tuple(summand.along.items()), token)

    def token_of(self, row: TensorRow, cell: tuple[int, ...]) -> str | None:
        """The token of a cell, by the first inner axis whose size is the number of tokens."""
        for at, size in zip(cell[1:-1], row.shape[1:-1], strict=True):
            known = tokens.along(self._trace, self._position, size, self._batch)
            if at < len(known):
                return known[at]
        return None

    def _part(self, factor: Factor) -> Part:
        name = tensor_of(factor.node)
        row = self._fit.tensors.get(name or "")
        if name is None or row is None:
            short = next((let for let, body in self._fit.plan.lets.items() if body == factor.node), factor.text)
            return Part(short, factor.value, None, None, "", None, factor.inverse)
        if name not in self._lines:
            self._lines[name] = self._line(row)
        line, step = self._lines[name]
        return Part(name, factor.value, row, self._cell_index(name, factor), line, step, factor.inverse)

    def _cell_index(self, name: str, factor: Factor) -> tuple[int, ...] | None:
        """The index of the factor's cell in its tensor; None if its dimensions do not determine it."""
        if isinstance(factor.node, Lookup):
            return None
        where = dict(factor.where)
        if isinstance(factor.node, Select):
            where[factor.node.dim] = factor.node.index % self._fit.plan.sizes[factor.node.dim]
        place = []
        for names in self._fit.plan.layouts[name].axes:
            at = 0
            for dim in names or ():
                if dim not in where:
                    return None
                at = at * self._fit.plan.sizes[dim] + where[dim]
            place.append(at)
        return tuple(place)

    def _line(self, row: TensorRow) -> tuple[str, int | None]:
        """`file:line` and position where a tensor was made; for a parameter or an input, of the call that has it."""
        trace = self._trace
        made = None if row.role == schema.PARAMETER else producer(trace, self._position, row.tensor)
        first = self._position - int(trace.column("step")[self._position]) + row.step
        at = first if made is None else made
        if not 0 <= at < len(trace):
            return "", None
        file, line = trace.column("file")[at], trace.column("line")[at]
        if not isinstance(file, str) or not line > 0:
            file, line = trace.column("def_file")[at], trace.column("def_line")[at]
        return (f"{file}:{int(line)}" if isinstance(file, str) and line > 0 else ""), at
