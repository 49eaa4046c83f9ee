"""Finds the equations of each call, and says of each whether it holds, differs, or why it cannot be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from .. import schema
from ..errors import TraceError
from ..recipes import plan
from ..recipes.recipe import Equation, Library, Match
from ..writer import TraceWriter
from .calls import Call
from .cells import Draw, Outcome, draw_cells, judge
from .references import Unbound, applies, find, resolve

_MOST_HELD = 1 << 22  # cells that wait to be evaluated; 32 MiB
_MOST_FITS = 2048  # remembered; each token of a generation has shapes of its own
_MOST_TOGETHER = 64  # steps evaluated at once


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A check whose cells have been read."""

    step: int
    order: int  # of the equation among those of the step
    match: Match
    fit: plan.Fit
    numbers: Mapping[str, float]
    cells: Mapping[str, Draw]


class Checker:
    """The equations of one recording. Cells are drawn by the step's number, so that a run can be repeated.

    While the model runs only the drawn cells are read; steps of the same equation and shapes are then evaluated
    together, which costs a fraction of one after the other."""

    def __init__(self, library: Library, writer: TraceWriter) -> None:
        self._library, self._writer = library, writer
        self._rows: list[tuple[int, int, tuple[Any, ...]]] = []  # step, order, row
        self._fits: dict[Any, plan.Fit | TraceError] = {}
        self._waiting: dict[Any, list[_Waiting]] = {}
        self._held = 0

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
        """Read the cells for the call's equations; the verdicts come with `verdicts`."""
        for order, match in enumerate(call.equations):
            try:
                with torch.no_grad():
                    self._read(match, call, order)
            except (Unbound, TraceError) as error:
                self._unchecked(call.step, order, match, str(error).rstrip("."))
            except Exception as error:  # a tensor of a kind nobody thought of must not end the recording
                self._unchecked(call.step, order, match, _failure(error))

    def verdicts(self) -> list[tuple[Any, ...]]:
        """Rows of the checks table since the last time, in order of the steps and of their equations."""
        self._evaluate()
        rows, self._rows = sorted(self._rows, key=lambda row: row[:2]), []
        return [row for _, _, row in rows]

    def _read(self, match: Match, call: Call, order: int) -> None:
        for reference in match.bind.random:
            if amount := find(reference, call):
                raise Unbound(f"random: {reference.source} is {amount}")
        symbols = {name: resolve(name, binding, call) for name, binding in match.bind.symbols.items()}
        tensors = {n: v for n, v in symbols.items() if isinstance(v, torch.Tensor)}
        numbers = {n: float(v) for n, v in symbols.items() if isinstance(v, (bool, int, float))}
        fit = self._fitted(match.equation, tensors, numbers)
        used = {n: t for n, t in tensors.items() if n in fit.layouts}
        cells = draw_cells(fit, used, numbers, Random(call.step))
        waiting = _Waiting(call.step, order, match, fit, numbers, cells)
        if not fit.together:
            return self._conclude([waiting], lambda variant, _: self._at_once(variant, tensors, numbers, call.step))
        kinds = tuple((cell.dtype, cell.units) for cell in cells.values())
        self._waiting.setdefault((id(fit), kinds), []).append(waiting)
        self._held += sum(cell.size for cell in cells.values())
        if self._held > _MOST_HELD:
            self._evaluate()

    def _fitted(
        self, equation: Equation, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]
    ) -> plan.Fit:
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())
        key = (equation.id, shapes, tuple(numbers.items()))
        fit = self._fits.get(key)
        if fit is None:
            try:
                fit = plan.fit(equation, shapes, tuple(numbers.items()))
            except TraceError as error:
                fit = error
            if len(self._fits) >= _MOST_FITS:
                self._fits.clear()
            self._fits[key] = fit
        if isinstance(fit, TraceError):
            raise fit
        return fit

    def _evaluate(self) -> None:
        """Judge all that waits."""
        groups, self._waiting, self._held = self._waiting, {}, 0
        for group in groups.values():
            for at in range(0, len(group), _MOST_TOGETHER):
                self._conclude(group[at : at + _MOST_TOGETHER], _together)

    def _conclude(
        self, group: list[_Waiting], judged: Callable[[plan.Plan, list[_Waiting]], list[Outcome | str]]
    ) -> None:
        """Judge steps of one equation, and for those that differ look for the variant that fits."""
        fit = group[0].fit
        outcomes = _together(fit.plan, group)
        differs = [at for at, o in enumerate(outcomes) if isinstance(o, Outcome) and not o.holds]
        fitting: dict[int, str] = {}
        for name, variant in fit.variants:
            open_ones = [at for at in differs if at not in fitting]
            if not open_ones:
                break
            for at, found in zip(open_ones, judged(variant, [group[at] for at in open_ones]), strict=True):
                if isinstance(found, Outcome) and found.holds:
                    fitting[at] = name
        for at, (waiting, outcome) in enumerate(zip(group, outcomes, strict=True)):
            if isinstance(outcome, str):
                self._unchecked(waiting.step, waiting.order, waiting.match, outcome)
                continue
            verdict = schema.HOLDS if outcome.holds else schema.DIFFERS
            reason = None if outcome.holds else f"{outcome.symbol} is not what the equation gives"
            measured = (outcome.residual, outcome.bound, outcome.cells, fitting.get(at), reason)
            self._row(waiting.step, waiting.order, waiting.match, verdict, *measured)

    def _at_once(
        self, variant: plan.Plan, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float], step: int
    ) -> list[Outcome | str]:
        """A variant that needs cells of its own, while the tensors are there."""
        try:
            used = {n: t for n, t in tensors.items() if n in variant.layouts}
            return judge(variant, numbers, [draw_cells(plan.join(variant), used, numbers, Random(step))])
        except (Unbound, TraceError) as error:
            return [str(error)]

    def _unchecked(self, step: int, order: int, match: Match, reason: str) -> None:
        self._row(step, order, match, schema.UNCHECKED, None, None, 0, None, reason)

    def _row(self, step: int, order: int, match: Match, *verdict: Any) -> None:
        self._rows.append((step, order, (step, match.equation.id, *verdict)))


def _together(fitted: plan.Plan, group: list[_Waiting]) -> list[Outcome | str]:
    try:
        return judge(fitted, group[0].numbers, [waiting.cells for waiting in group])
    except TraceError as error:
        return [str(error).rstrip(".")] * len(group)
    except Exception as error:
        return [_failure(error)] * len(group)


def _failure(error: Exception) -> str:
    return f"the check failed ({type(error).__name__}: {error})"
