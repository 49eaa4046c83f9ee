"""Finds the equations of each call, and says of each whether it holds, differs, or why it cannot be checked."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import torch

from .. import schema
from ..errors import TraceError
from ..recipes import dims, plan
from ..recipes.formula import Formula
from ..recipes.recipe import Library, Match
from ..writer import TraceWriter
from .calls import Call
from .cells import Outcome, spot_check
from .references import Unbound, applies, find, resolve


class Checker:
    """The equations of one recording. Cells are drawn by the step's number, so that a run can be repeated."""

    def __init__(self, library: Library, writer: TraceWriter) -> None:
        self._library, self._writer = library, writer
        self._rows: list[tuple[Any, ...]] = []
        self._plans: dict[Any, plan.Plan | TraceError] = {}

    def begin(self, call: Call) -> None:
        """Find the call's equations, and note what must be kept for them."""
        kind = type(call.owner)
        found = (
            self._library.for_module(kind)
            if call.kind is schema.MODULE
            else self._library.for_function(call.type, kind)
        )
        call.equations = tuple(m for m in found if applies(m, call))
        if any(m.children for m in call.equations):
            call.seen = {}
        for match in call.equations:
            self._writer.meta["equations"].setdefault(match.equation.id, match.equation.data)

    def finish(self, call: Call) -> None:
        """Check the call's equations; the verdicts wait for `verdicts`."""
        for match in call.equations:
            with torch.no_grad():
                self._rows.append((call.step, match.equation.id, *self._verdict(match, call)))

    def verdicts(self) -> list[tuple[Any, ...]]:
        """Rows of the checks table since the last time."""
        rows, self._rows = self._rows, []
        return rows

    def _verdict(self, match: Match, call: Call) -> tuple[Any, ...]:
        equation = match.equation
        try:
            for reference in match.bind.random:
                if amount := find(reference, call):
                    raise Unbound(f"random: {reference.source} is {amount}")
            symbols = {name: resolve(name, binding, call) for name, binding in match.bind.symbols.items()}
            outcome = self._run(equation.formula, equation.dims, symbols, call.step)
            if outcome.holds:
                return schema.HOLDS, outcome.residual, outcome.bound, outcome.cells, None, None
            for variant in equation.variants:
                try:
                    if self._run(variant.formula, variant.dims, symbols, call.step).holds:
                        break
                except (Unbound, TraceError):
                    continue
            else:
                variant = None
            reason = f"{outcome.symbol} is not what the equation gives"
            name = None if variant is None else variant.name
            return schema.DIFFERS, outcome.residual, outcome.bound, outcome.cells, name, reason
        except (Unbound, TraceError) as error:
            return schema.UNCHECKED, None, None, 0, None, str(error).rstrip(".")
        except Exception as error:  # a tensor of a kind nobody thought of must not end the recording
            return schema.UNCHECKED, None, None, 0, None, f"the check failed ({type(error).__name__}: {error})"

    def _run(
        self, formula: Formula, patterns: Mapping[str, dims.Pattern], symbols: Mapping[str, Any], step: int
    ) -> Outcome:
        tensors = {n: v for n, v in symbols.items() if isinstance(v, torch.Tensor) and n in formula.symbols}
        numbers = {n: float(v) for n, v in symbols.items() if isinstance(v, (bool, int, float))}
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())
        key = (id(formula), id(patterns), shapes, tuple(numbers.items()))
        fitted = self._plans.get(key)
        if fitted is None:
            try:
                fitted = plan.make(formula, patterns, shapes, tuple(numbers.items()))
            except TraceError as error:
                fitted = error
            self._plans[key] = fitted
        if isinstance(fitted, TraceError):
            raise fitted
        return spot_check(fitted, tensors, numbers, Random(step))
