"""Fits an equation and its variants to the shapes of one step, and lists what must be read to evaluate them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...errors import TraceError
from ..format.recipe import Equation
from ..formula import dims
from ..formula.language import Formula
from ..formula.nodes import Node
from .plan import Numbers, Plan, Shapes, make_plan
from .split_dimension import split, splittable_dims


@dataclass(frozen=True, slots=True)
class Fit:
    """An equation and its variants fitted to the shapes of one step, and what must be read to evaluate them."""

    plan: Plan
    variants: tuple[tuple[str, Plan], ...]
    together: bool  # whether the cells drawn for the equation are enough for its variants
    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    leaves: Mapping[str, tuple[Node, ...]]  # of each symbol


def fit(equation: Equation, shapes: Shapes, numbers: Numbers, few: bool = True) -> Fit:
    """Fit an equation, and its variants where possible, to the shapes of one step.

    Args:
        equation: the equation.
        shapes: (symbol, shape) of each tensor.
        numbers: (symbol, value) of each number or word.
        few: whether only a few cells will be checked; then long rows are split (see `split_dimension`).

    Raises:
        TraceError: the equation itself does not fit; the sentence says why.
    """

    def fitted(formula: Formula, patterns: Mapping[str, dims.Pattern]) -> Plan:
        return make_plan(formula, patterns, tuple(s for s in shapes if s[0] in formula.symbols), numbers)

    plan = fitted(equation.formula, equation.dims)
    variants = []
    for variant in (one for one in equation.variants if not one.contrary):
        with suppress(TraceError):
            variants.append((variant.name, fitted(variant.formula, variant.dims)))
    plain = join_plans(plan, tuple(variants))
    for dim in splittable_dims(plan) if few and plain.together else ():
        with suppress(TraceError):
            quick = join_plans(split(plan, dim), tuple((name, split(variant, dim)) for name, variant in variants))
            if quick.together:
                return quick
    return plain


def join_plans(plan: Plan, variants: tuple[tuple[str, Plan], ...] = ()) -> Fit:
    """Combine a plan and its variants, to be evaluated from the same cells where these are enough for all of them."""
    together = all(_cells_suffice(plan, other) for _, other in variants)
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


def _cells_suffice(plan: Plan, other: Plan) -> bool:
    """Whether the cells drawn for one plan are enough to evaluate another."""
    drawn = {s.symbol: set(s.independent) for s in plan.statements}
    same = all(plan.layouts[name] == layout for name, layout in other.layouts.items() if name in plan.layouts)
    return same and all(s.symbol in drawn and drawn[s.symbol] <= set(s.independent) for s in other.statements)
