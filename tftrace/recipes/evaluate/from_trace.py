"""Evaluates an equation on the tensors that a trace has kept, everywhere or at a few positions, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.scalars import numbers
from ...trace.trace import Trace
from ...trace.values import read_value
from ..format.recipe import Equation, parse
from ..formula.analysis import base_tensor, moved_dims, named_dims
from ..formula.language import Formula, FormulaError
from ..formula.nodes import Apply, Node
from . import plan
from .bindings import bindings_of
from .evaluator import Evaluator
from .named_slices import Slice, move_cells, take
from .value import MAX_CELLS, Array, Value, constant, to_float64

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # unit roundoff


class NotKept(TraceError):
    """Raised for a tensor that the trace has not kept; the message names it."""


@dataclass
class FittedEquation:
    """An equation fitted to a recorded step: the formula that fits, and what its symbols stand for."""

    equation: Equation
    formula: Formula
    variant: str | None
    plan: plan.Plan
    tensors: Mapping[str, TensorRow]
    numbers: Mapping[str, float | str]
    single: bool = False  # whether a float64 run used float32 inside the step
    arrays: dict[str, Array] = field(default_factory=dict)  # tensors read so far, or replayed

    @property
    def unit(self) -> float:
        """The unit roundoff of the coarsest dtype involved."""
        units = [UNITS[r.dtype] for r in self.tensors.values() if r.dtype in UNITS]
        return max([*units, UNITS["float32"]] if self.single or not units else units)


def fit_recorded(
    trace: Trace,
    position: int,
    name: str,
    own_numbers: Mapping[str, float | str] | None = None,
    as_written: bool = False,
) -> FittedEquation:
    """Fit an equation to a recorded step, in the variant that the check found to hold.

    Args:
        trace: the trace.
        position: position of the call.
        name: id of the equation.
        own_numbers: values of the numbers in the formula; by default those that the trace recorded.
        as_written: whether to fit the equation itself, whatever variant holds.

    Raises:
        TraceError: it cannot be fitted; the sentence says why.
    """
    data = trace.equation(name)
    if data is None:
        raise TraceError(f"the trace does not describe the equation {name!r}")
    equation = parse(data, "meta.json")
    check = next((c for c in trace.checks_of(position) if c.equation == name), None)
    fits = None if check is None or as_written else check.variant
    chosen = next((v for v in equation.variants if v.name == fits), None)
    form, patterns = (equation.formula, equation.dims) if chosen is None else (chosen.formula, chosen.dims)
    tensors = {s: r for s, r in bindings_of(trace, position, name).tensors.items() if s in form.symbols}
    known = numbers(trace, position, name) if own_numbers is None else own_numbers
    shapes = tuple((s, r.shape) for s, r in tensors.items())
    bind = {symbol for b in equation.binds for symbol in b.symbols}
    lost = sorted((form.names & bind) - set(tensors) - set(known) - {symbol for symbol, _ in form.statements})
    if lost:
        raise TraceError(f"what {lost[0]} stood for was not recorded")
    made = plan.make_plan(form, patterns, shapes, tuple(known.items()))
    single = check is not None and (check.reason or "").startswith(schema.SINGLE)
    return FittedEquation(equation, form, None if chosen is None else chosen.name, made, tensors, known, single)


class KeptTensors:
    """Gives the evaluator the tensors that a trace kept (see `Symbols`); of `drawn` dimensions only those positions."""

    def __init__(self, trace: Trace, fit: FittedEquation, drawn: Mapping[str, Sequence[int]] | None = None) -> None:
        self._trace, self._fit = trace, fit
        self._drawn = {dim: np.asarray(at) for dim, at in (drawn or {}).items()}

    def evaluator(self) -> Evaluator:
        """An evaluator for the run's dtype; half-precision sums are taken to accumulate in float32."""
        return Evaluator(self, self._fit.unit, min(self._fit.unit, UNITS["float32"]))

    def array(self, name: str) -> Array:
        """A tensor in its recorded shape; raises NotKept if the trace has not kept it."""
        fit = self._fit
        if name not in fit.arrays:
            row = fit.tensors[name]
            if not row.value:
                raise NotKept(f"{row.name or 'the result'} was not kept")
            fit.arrays[name] = read_value(self._trace.path, row.value, row.shape)
        return fit.arrays[name]

    def cells(self, name: str, without: Sequence[str] = ()) -> Array:
        """The drawn cells of a tensor, one axis per named dimension; along the dimensions in `without`, all cells."""
        drawn = {dim: at for dim, at in self._drawn.items() if dim not in without}
        found: Array = take(self.array(name), Slice(self._fit.plan.layouts[name], self._fit.plan.sizes), drawn)
        return found

    # -- the Symbols protocol ---------------------------------------------------------------------------

    def value(self, name: str) -> Value | None:
        layout = self._fit.plan.layouts.get(name)
        if layout is not None:
            return _value(layout.names, self.cells(name))
        number = self._fit.numbers.get(name)
        return constant(number) if isinstance(number, float) else None

    def size(self, dim: str) -> int:
        if dim not in self._fit.plan.sizes:  # a symbol whose number is missing is read as a size
            raise TraceError(f"what {dim} stood for was not recorded")
        return self._fit.plan.sizes[dim]

    def positions(self, dim: str) -> Array:
        at = self._drawn.get(dim)
        return np.arange(self.size(dim)) if at is None else at

    def lookup(self, table: str, index: Value) -> Value:
        names = self._fit.plan.layouts[table].names
        if index.v.size * math.prod(self.size(n) for n in names[1:]) > MAX_CELLS:
            raise FormulaError(f"{table} is looked up more often than can be held at once")
        found = self.cells(table, names[:1])
        return _value((*index.dims, *names[1:]), found[index.v.astype(np.int64)])

    def select(self, name: str, dim: str, index: int) -> Value:
        names = self._fit.plan.layouts[name].names
        rest = tuple(n for n in names if n != dim)
        return _value(rest, self.cells(name, (dim,)).take(index, names.index(dim)))

    def moved(self, leaf: Apply, given: tuple[int, ...]) -> Value:
        names, step = named_dims(leaf), 2 if leaf.function == "rename" else 3
        start = self._fit.plan.layouts[base_tensor(leaf)].names
        found = move_cells(
            self.cells(base_tensor(leaf), names[::step]), leaf, given, start, self._fit.plan.sizes, self.positions
        )
        return _value(moved_dims(leaf, start), found)


def _value(names: tuple[str, ...], found: Array) -> Value:
    v = found if found.dtype == np.bool_ else to_float64(found)
    return Value(names, v, np.zeros(v.shape), integer=found.dtype.kind in "iu")


def equations_of(trace: Trace, position: int) -> list[str]:
    """The ids of a call's equations: its principal one first, then the others that were checked on it."""
    if trace.column("kind")[position] not in schema.CALLS:
        return []
    own = trace.column("equation")[position]
    names = ([own] if own else []) + [c.equation for c in trace.checks_of(position)]
    return [name for name in dict.fromkeys(names) if trace.equation(name) is not None]


def expression_of(fit: FittedEquation, symbol: str) -> Node | None:
    """The expression for a symbol, with abbreviations substituted; None if the equation does not define it."""
    return next((s.body for s in fit.plan.statements if s.symbol == symbol), None)
