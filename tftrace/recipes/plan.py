"""What can be settled about a check before any number is read: sizes, layouts, and which dimensions a few cells of
the result can be drawn along. It depends on shapes only, so a module called again reuses it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite

from ..errors import TraceError
from . import dims
from .analysis import inline, leaves, whole_dims
from .formula import Apply, Formula, FormulaError, Lookup, Name, Node, Operation, Select, walk
from .recipe import Equation

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One symbol to compare with its expression, abbreviations put in their place."""

    symbol: str
    body: Node
    independent: tuple[str, ...]  # dimensions of the symbol along which a cell needs only its own position
    products: bool  # whether there is a matrix product in it
    leaves: tuple[Node, ...]  # what of it is read from the step


@dataclass(frozen=True, slots=True)
class Plan:
    """A formula fitted to the shapes of one step."""

    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """An equation and its variants fitted to the shapes of one step, and what must be read to evaluate them later."""

    plan: Plan
    variants: tuple[tuple[str, Plan], ...]
    together: bool  # whether the cells drawn for the equation serve the variants too
    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    leaves: Mapping[str, tuple[Node, ...]]  # of each symbol


def fit(equation: Equation, shapes: Shapes, numbers: tuple[tuple[str, float], ...]) -> Fit:
    """Fit an equation and those of its variants that can be; raises TraceError if the equation itself cannot."""

    def fitted(formula: Formula, patterns: Mapping[str, dims.Pattern]) -> Plan:
        return make(formula, patterns, tuple(s for s in shapes if s[0] in formula.symbols), numbers)

    plan = fitted(equation.formula, equation.dims)
    variants = []
    for variant in equation.variants:
        with suppress(TraceError):
            variants.append((variant.name, fitted(variant.formula, variant.dims)))
    return join(plan, tuple(variants))


def join(plan: Plan, variants: tuple[tuple[str, Plan], ...] = ()) -> Fit:
    """A plan and its variants, to be read with the same cells where these serve all of them."""
    together = all(_serves(plan, other) for _, other in variants)
    plans = (*(other for _, other in variants), plan) if together else (plan,)
    leaves: dict[str, dict[Node, None]] = {}
    for statement in (s for p in plans for s in p.statements):
        leaves.setdefault(statement.symbol, {}).update(dict.fromkeys(statement.leaves))
    return Fit(
        plan,
        variants,
        together,
        {name: size for p in plans for name, size in p.sizes.items()},
        {name: layout for p in plans for name, layout in p.layouts.items()},
        {symbol: tuple(found) for symbol, found in leaves.items()},
    )


def _serves(plan: Plan, other: Plan) -> bool:
    """Whether cells drawn for one plan are enough to evaluate another."""
    drawn = {s.symbol: set(s.independent) for s in plan.statements}
    same = all(plan.layouts[name] == layout for name, layout in other.layouts.items() if name in plan.layouts)
    return same and all(s.symbol in drawn and drawn[s.symbol] <= set(s.independent) for s in other.statements)


def make(
    formula: Formula, patterns: Mapping[str, dims.Pattern], shapes: Shapes, numbers: tuple[tuple[str, float], ...]
) -> Plan:
    """Fit a formula to tensors of these shapes and to these numbers; raises TraceError with the reason it cannot be."""
    for symbol, _ in shapes:
        if symbol not in patterns:
            raise FormulaError(f"{symbol} is a tensor and has no named dimensions in the recipe")
    named = {name for pattern in patterns.values() for axis in pattern.axes for name in axis.names}
    known = {name: int(value) for name, value in numbers if name in named and isfinite(value)}
    sizes, layouts = dims.solve(patterns, dict(shapes), known)
    names = {symbol: layout.names for symbol, layout in layouts.items()}
    numbered = {name for name, _ in numbers}
    lets: dict[str, Node] = {}
    statements = []
    for symbol, body in formula.statements:
        body = inline(body, lets)
        if symbol not in layouts:
            lets[symbol] = body
            continue
        _check_names(body, sizes, names, numbered)
        _, whole = whole_dims(body, names)
        read = tuple(leaves(body, names))
        products = any(isinstance(node, Operation) and node.operator == "@" for node in walk(body))
        statements.append(Statement(symbol, body, tuple(d for d in names[symbol] if d not in whole), products, read))
    if not statements:
        raise FormulaError("its result was not seen at this level")
    return Plan(sizes, layouts, tuple(statements))


def _check_names(body: Node, sizes: Mapping[str, int], names: Mapping[str, tuple[str, ...]], numbers: set[str]) -> None:
    """Everything that the evaluator will look for is there."""
    for node in walk(body):
        match node:
            case Name(name) if name not in sizes and name not in names and name not in numbers:
                raise FormulaError(f"{name} is not known here")
            case Apply("pos" | "causal", arguments):
                for dim in arguments:
                    if isinstance(dim, Name) and dim.id not in sizes:
                        raise FormulaError(f"{dim.id} is no dimension")
            case Lookup(Name(table)) if table not in names:
                raise FormulaError(f"{table} is no tensor whose rows can be looked up")
            case Select(Name(name), dim, index):
                if dim not in names.get(name, ()):
                    raise FormulaError(f"{name} has no dimension {dim}")
                if not -sizes[dim] <= index < sizes[dim]:
                    raise FormulaError(f"{name} has no position {index} along {dim}")
