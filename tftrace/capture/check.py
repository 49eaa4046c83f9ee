"""Finds the equations of each call, and says of each whether it holds, differs, or why it cannot be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .. import schema
from ..errors import TraceError
from ..recipes import plan
from ..recipes.recipe import Equation, Library, Match
from ..writer import TraceWriter
from .calls import Call
from .cells import Draw, Reading, fetch
from .judge import Outcome, judge
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
    cells: dict[str, Draw]


class Checker:
    """The equations of one recording. Cells are drawn by the step's number, so that a run can be repeated.

    While the model runs only the drawn cells are read; steps of the same equation and shapes are then evaluated
    together, which costs a fraction of one after the other."""

    def __init__(self, library: Library, writer: TraceWriter) -> None:
        self._library, self._writer = library, writer
        self._rows: list[tuple[int, int, tuple[Any, ...]]] = []  # step, order, row
        self._readings: dict[Any, Reading | str] = {}  # a text says why there is none
        self._waiting: dict[Any, list[_Waiting]] = {}
        self._held = 0

    def begin(self, call: Call) -> None:
        """Find the call's equations, and note what must be kept for them."""
        kind = type(call.owner)
        found = (
            self._library.for_module(kind)
            if call.direct or call.place.kind is schema.MODULE
            else self._library.for_function(call.place.type, kind)
        )
        if not found:
            return
        call.equations = tuple([m for m in found if not m.bind.when or applies(m, call)])
        for match in call.equations:
            if match.children:
                call.seen = {}
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

    def verdicts(self) -> None:
        """Judge all that waits, and queue rows of the checks table in order of the steps and of their equations."""
        self._evaluate()
        rows, self._rows = sorted(self._rows, key=lambda row: row[:2]), []
        for _, _, row in rows:
            self._writer.add("checks", row)

    def _read(self, match: Match, call: Call, order: int) -> None:
        for reference in match.bind.random:
            if amount := find(reference, call):
                raise Unbound(f"random: {reference.source} is {amount}")
        tensors: dict[str, torch.Tensor] = {}
        numbers: dict[str, float] = {}
        for name, binding in match.bind.symbols.items():
            value = resolve(name, binding, call)
            if isinstance(value, torch.Tensor):
                tensors[name] = value
            elif value is not None:
                numbers[name] = float(value)
        reading = self._reading(match.equation, tensors, numbers)
        cells = reading.draw(tensors, numbers, call.step)
        waiting = _Waiting(call.step, order, match, reading.fit, numbers, cells)
        if not reading.fit.together:
            fetch(cells.values())
            return self._conclude([waiting], lambda variant, _: self._at_once(variant, tensors, numbers, call.step))
        units = tuple([cell.units for cell in cells.values()])
        self._waiting.setdefault((reading, units), []).append(waiting)
        self._held += sum([cell.size for cell in cells.values()])
        if self._held > _MOST_HELD:
            self._evaluate()

    def _reading(
        self, equation: Equation, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]
    ) -> Reading:
        forms = tuple([(name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()])
        key = (equation.id, forms, tuple(numbers.items()))
        found = self._readings.get(key)
        if found is None:
            if len(self._readings) >= _MOST_FITS:
                self._readings.clear()
            try:
                shapes = tuple((name, tuple(shape)) for name, shape, _ in forms)
                fit = plan.fit(equation, shapes, tuple(numbers.items()))
                found = Reading(fit, {name: dtype for name, _, dtype in forms})
            except (TraceError, Unbound) as error:
                found = str(error)
            self._readings[key] = found
        if isinstance(found, str):
            raise Unbound(found)
        return found

    def _evaluate(self) -> None:
        groups, self._waiting, self._held = self._waiting, {}, 0
        fetch(draw for group in groups.values() for waiting in group for draw in waiting.cells.values())
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
            reading = Reading(plan.join(variant), {name: tensor.dtype for name, tensor in tensors.items()})
            cells = reading.draw(tensors, numbers, step)
            fetch(cells.values())
            return judge(variant, numbers, [cells])
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
