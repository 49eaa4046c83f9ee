"""An equation fitted to the shapes of one step with its variants, and what must be read to evaluate all of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...errors import TraceError
from ..format.recipe import Equation
from ..formula import dims
from ..formula.language import Formula
from ..formula.nodes import Node
from .plan import Numbers, Plan, Shapes, make
from .split_dimension import candidates, doubled


@dataclass(frozen=True, slots=True)
class Fit:
    """An equation and its variants fitted to the shapes of one step, and what must be read to evaluate them later."""

    plan: Plan
    variants: tuple[tuple[str, Plan], ...]
    together: bool  # whether the cells drawn for the equation serve the variants too
    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    leaves: Mapping[str, tuple[Node, ...]]  # of each symbol


def fit(equation: Equation, shapes: Shapes, numbers: Numbers, few: bool = True) -> Fit:
    """Fit an equation and those of its variants that can be; raises TraceError if the equation itself cannot.

    `few`: so that a few cells of the result can be evaluated without the others (see `doubled`)."""

    def fitted(formula: Formula, patterns: Mapping[str, dims.Pattern]) -> Plan:
        return make(formula, patterns, tuple(s for s in shapes if s[0] in formula.symbols), numbers)

    plan = fitted(equation.formula, equation.dims)
    variants = []
    for variant in equation.variants:
        with suppress(TraceError):
            variants.append((variant.name, fitted(variant.formula, variant.dims)))
    plain = join(plan, tuple(variants))
    for dim in candidates(plan) if few and plain.together else ():
        with suppress(TraceError):
            quick = join(doubled(plan, dim), tuple((name, doubled(variant, dim)) for name, variant in variants))
            if quick.together:
                return quick
    return plain


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
