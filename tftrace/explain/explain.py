"""One number of a run derived: the equation's terms with their real values, and where each came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import TraceError
from ..flow import producer
from ..recipes.evaluate import from_trace
from ..recipes.evaluate.bindings import bound
from ..recipes.evaluate.mixture import mixture
from ..recipes.evaluate.plan import Statement
from ..recipes.evaluate.terms import Factor, Piece, Terms, cell_of
from ..recipes.formula.nodes import Lookup, Node, Select, inline
from ..trace import schema, tokens
from ..trace.rows import TensorRow
from ..trace.trace import Trace

if TYPE_CHECKING:
    from ..recipes.evaluate.from_trace import Fitted

# Runs the forward of a trace again: that run with the values of a step kept, and where the step stands in it.
Replay = Callable[[Trace, int], AbstractContextManager[tuple[Trace, int]]]

KEPT, REPLAYED = "from the values that the trace has kept", "from a replay: the forward was run again"


@dataclass(frozen=True, slots=True)
class Part:
    """A factor of a term. `cell` is its place in `tensor`; both are None where it is what an expression gives."""

    text: str
    value: float
    tensor: TensorRow | None
    cell: tuple[int, ...] | None
    line: str  # where the tensor was made, or the module that holds it is called: file:line
    step: int | None  # the position of that step
    inverse: bool  # whether the term is divided by it


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the sum; `token` is the one that it came from, where attention mixes tokens."""

    value: float
    parts: tuple[Part, ...]
    along: tuple[tuple[str, int], ...]  # positions along the dimensions that were summed over
    token: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cell of what an equation gives, as a sum of terms, the largest first.

    `total` is their sum in float64, `value` what the run had, `bound` what rounding explains between the two.
    `terms` are empty where `reason` says why there are none."""

    equation: str
    cite: str
    formula: str
    variant: str | None
    symbol: str
    tensor: TensorRow | None
    cell: tuple[int, ...]
    token: str | None  # the one that the cell belongs to
    value: float
    total: float
    bound: float
    terms: tuple[Term, ...]
    how: str
    reason: str

    @property
    def matches(self) -> bool:
        """Whether the sum is what was recorded."""
        return bool(self.terms) and (abs(self.total - self.value) <= self.bound or self.total == self.value)


def explain(
    trace: Trace, position: int, cell: Sequence[int], *, equation: str | None = None, replay: Replay | None = None
) -> Explanation:
    """Derive one cell of what the call at `position` returned, or of what its `equation` gives.

    It works from kept values; what it needs and was not kept comes from running the forward again by `replay`
    (`replay.replayed`), if the model can be loaded again. Raises TraceError where the step has no equation, or there is
    no such cell."""
    call = trace.call_of(position)
    names = from_trace.equations(trace, call)
    if equation is not None:
        names = [name for name in names if name == equation]
    if not names:
        which = f"has no equation {equation!r}" if equation else "has no equation"
        raise TraceError(f"Step {position} {which}, so that there is nothing to derive a number from.")
    try:
        return _explained(trace, call, tuple(cell), names, KEPT)
    except from_trace.Missing as missing:
        if replay is None:
            return _nothing(trace, call, names[0], tuple(cell), f"{missing}: record with --values all.")
        reason = str(missing)
    try:
        with replay(trace, call) as (again, there):
            found = _explained(again, there, tuple(cell), names, REPLAYED)
            return found if _same(trace, call, found) else replace(found, how=f"{REPLAYED}, and gave other numbers")
    except TraceError as error:
        return _nothing(trace, call, names[0], tuple(cell), f"{reason}, and the forward cannot be run again: {error}")


def _same(trace: Trace, position: int, found: Explanation) -> bool:
    """Whether the tensor of a replay is the recorded one, as far as its statistics tell."""
    now, then = found.tensor, bound(trace, position, found.equation).tensors.get(found.symbol)
    if now is None or then is None or now.shape != then.shape:
        return False
    pairs = ((now.mean, then.mean), (now.std, then.std), (now.l2, then.l2), (now.min, then.min), (now.max, then.max))
    return all(a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-5)) for a, b in pairs)


def _explained(trace: Trace, position: int, cell: tuple[int, ...], names: Sequence[str], how: str) -> Explanation:
    """By the first equation that gives what the step returned; else by the first that can be fitted."""
    failed: TraceError | None = None
    found: list[tuple[Fitted, Statement]] = []
    for name in names:
        try:
            fit = from_trace.fitted(trace, position, name)
        except TraceError as error:
            failed = failed or error
            continue
        found += [(fit, statement) for statement in fit.plan.statements]
    if not found:
        raise TraceError(f"The equation cannot be fitted to this step: {failed}")
    step = int(trace.column("step")[position])

    def returned(pair: tuple[Fitted, Statement]) -> tuple[bool, bool]:
        row = pair[0].tensors[pair[1].symbol]
        return row.role == schema.OUTPUT and row.step == step and row.name in ("", "[0]", "logits"), pair[
            1
        ].symbol == "out"

    fit, statement = max(found, key=returned)
    return _cell(trace, position, fit, statement, cell, how)


def _cell(
    trace: Trace, position: int, fit: Fitted, statement: Statement, cell: tuple[int, ...], how: str
) -> Explanation:
    row = fit.tensors[statement.symbol]
    if len(cell) != len(row.shape) or not all(-n <= at < n for at, n in zip(cell, row.shape, strict=True)):
        shape = "×".join(map(str, row.shape)) or "a scalar"
        said = f"There is no cell {','.join(map(str, cell))}" if cell else "No cell is named"
        last = ",".join(str(n - 1) for n in row.shape)
        way = f"name a position along each axis, up to {last}" if row.shape else 'its only one is --cell ""'
        raise TraceError(f"{said}: {way}. {f'`{row.name}`' if row.name else 'The result'} is {shape}.")
    cell = tuple(at % n for at, n in zip(cell, row.shape, strict=True))
    where = _positions(fit, statement.symbol, cell)
    drawn = {dim: at for dim, at in where.items() if dim in statement.independent}
    known = from_trace.Kept(trace, fit, {dim: [at] for dim, at in drawn.items()})
    value = float(known.array(statement.symbol)[cell])
    evaluator = known.evaluator()
    terms = Terms(evaluator, drawn)
    pieces = terms.of(statement.body, where)
    mixed = mixture(_mixed_with(fit, statement))
    keys = evaluator.evaluate(mixed.weights).dims[-1:] if mixed is not None else ()
    name = str(trace.column("name")[position] or "")
    batch = cell[0] if len(cell) > 1 else 0
    describe = _Describer(trace, position, fit, keys, name, batch)
    ordered = sorted(pieces, key=lambda piece: -abs(piece.value) if not math.isnan(piece.value) else -math.inf)
    return Explanation(
        equation=fit.equation.id,
        cite=fit.equation.cite,
        formula=fit.formula.source,
        variant=fit.variant,
        symbol=statement.symbol,
        tensor=row,
        cell=cell,
        token=describe.own(row, cell),
        value=value,
        total=_sum([piece.value for piece in pieces]),
        bound=terms.bound(statement.body, where) + fit.unit * abs(terms.value(statement.body, where)),
        terms=tuple(map(describe.term, ordered)),
        how=how,
        reason="",
    )


def _sum(values: list[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def _mixed_with(fit: Fitted, statement: Statement) -> Node:
    """The statement's expression, with what other statements say of its symbols in their place."""
    return inline(statement.body, {s.symbol: s.body for s in fit.plan.statements if s.symbol != statement.symbol})


def _positions(fit: Fitted, symbol: str, cell: tuple[int, ...]) -> dict[str, int]:
    """Where a cell of a tensor stands along the named dimensions; an axis may hold several."""
    found = {}
    for at, names in zip(cell, fit.plan.layouts[symbol].axes, strict=True):
        for name in reversed(names or ()):
            at, found[name] = divmod(at, fit.plan.sizes[name])
    return found


def _nothing(trace: Trace, position: int, name: str, cell: tuple[int, ...], reason: str) -> Explanation:
    recipe = trace.equation(name) or {}
    cite, formula = (str(recipe.get(key) or "") for key in ("cite", "formula"))
    unknown = math.nan
    return Explanation(name, cite, formula, None, "out", None, cell, None, unknown, unknown, unknown, (), "", reason)


class _Describer:
    """Says of terms which tensors, lines and tokens they are of."""

    def __init__(self, trace: Trace, position: int, fit: Fitted, keys: tuple[str, ...], name: str, batch: int) -> None:
        self._trace, self._position, self._fit, self._keys = trace, position, fit, keys
        self._name, self._batch = name, batch
        self._lines: dict[str, tuple[str, int | None]] = {}

    def term(self, piece: Piece) -> Term:
        token = None
        for dim, at in piece.along.items():
            if dim in self._keys:
                known = tokens.along(self._trace, self._name, self._fit.plan.sizes[dim], self._batch, keys=True)
                token = known[at] if at < len(known) else None
        return Term(piece.value, tuple(map(self._part, piece.factors)), tuple(piece.along.items()), token)

    def own(self, row: TensorRow, cell: tuple[int, ...]) -> str | None:
        """The token of a cell: along the first of the middle axes that is as long as the tokens."""
        for at, size in zip(cell[1:-1], row.shape[1:-1], strict=True):
            known = tokens.along(self._trace, self._name, size, self._batch)
            if at < len(known):
                return known[at]
        return None

    def _part(self, factor: Factor) -> Part:
        name = cell_of(factor.node)
        row = self._fit.tensors.get(name or "")
        if name is None or row is None:
            short = next((let for let, body in self._fit.plan.lets.items() if body == factor.node), factor.text)
            return Part(short, factor.value, None, None, "", None, factor.inverse)
        if name not in self._lines:
            self._lines[name] = self._line(row)
        line, step = self._lines[name]
        return Part(name, factor.value, row, self._place(name, factor), line, step, factor.inverse)

    def _place(self, name: str, factor: Factor) -> tuple[int, ...] | None:
        """The factor's cell in the axes of its tensor, where its dimensions tell."""
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
        """Where a tensor was made; of a parameter, and of what came from outside, where its step was called."""
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
