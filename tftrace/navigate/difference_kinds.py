"""The two kinds of difference: a mistake (✗), or what other models do on purpose (△), by the variant that fits.

What `meta.json` says of a variant decides. Traces of version 0.1.0 say it of none, so that all their differences are
mistakes, as they were then."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..trace import schema
from ..trace.rows import CheckRow
from ..trace.trace import Trace

BY_DESIGN = "differs by design"  # beside the verdicts of the schema, for a difference of the kind `design`


def variant_kinds(recipe: Any) -> dict[str, str]:
    """The kind of each variant of an equation, as meta.json has it, by name."""
    listed = recipe.get("variant") if isinstance(recipe, dict) else None
    variants = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {
        str(one.get("name")): schema.DESIGN if one.get("kind") == schema.DESIGN else schema.MISTAKE for one in variants
    }


def kind_of(trace: Trace, equation: str, variant: str | None) -> str:
    """The kind of a difference that this variant fits; without one it is a mistake."""
    return variant_kinds(trace.equation(equation)).get(variant or "", schema.MISTAKE)


def shown_verdict(trace: Trace, check: CheckRow) -> str:
    """The verdict of a check, or `BY_DESIGN`."""
    differs = check.verdict == schema.DIFFERS
    return BY_DESIGN if differs and kind_of(trace, check.equation, check.variant) == schema.DESIGN else check.verdict


def by_design(trace: Trace) -> np.ndarray:
    """A boolean column of the checks: which differ by design."""
    return trace.derived(_by_design)


def _by_design(trace: Trace) -> np.ndarray:
    equation, equations = trace.words("equation", "checks")
    variant, variants = trace.words("variant", "checks")
    verdict, verdicts = trace.words("verdict", "checks")
    differs = np.array([*(word == schema.DIFFERS for word in verdicts), False])[verdict]
    rows = np.flatnonzero(differs & (equation >= 0) & (variant >= 0))
    pairs, of_row = np.unique(np.stack([equation[rows], variant[rows]]), axis=1, return_inverse=True)
    kinds = [kind_of(trace, equations[one], variants[other]) for one, other in pairs.T.tolist()]
    found = np.zeros(len(verdict), bool)
    found[rows] = np.array([kind == schema.DESIGN for kind in kinds], bool)[of_row.reshape(-1)]
    return found
