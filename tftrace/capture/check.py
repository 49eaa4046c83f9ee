"""Says of each equation of each call whether it holds, differs, or why it cannot be checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from .. import schema
from ..errors import TraceError
from ..numbers import NumbersWriter
from ..recipes import plan
from ..recipes.library import Library, Match
from ..recipes.recipe import Equation
from ..recipes.value import Array
from ..writer import TraceWriter
from .calls import Call
from .cells import ALL, Reading, Units
from .judge import Outcome, judge, judge_all
from .known import Finder
from .numbers import on_host
from .references import Unbound, getter, resolve
from .route import Route
from .waiting import Group, fetch

_MOST_HELD = 1 << 22  # cells that wait to be evaluated; 16 to 32 MB
_MOST_FITS = 512  # remembered, of some 18 KB each; each token of a generation has shapes of its own
_MOST_ROUTES = 4  # tried, where a call is unlike the last one of its module
_SECONDS = 2.0  # that verdicts may wait for


_Apart = tuple[plan.Plan, Group]

# Of all recordings, as most are of the same few models; a text says why an equation cannot be read.
_readings: dict[Any, tuple[Equation, Reading | str]] = {}


class Checker:
    """The equations of one recording. Cells are drawn by the step's number, so that a run can be repeated.

    While the model runs only the drawn cells are read; steps of the same equation and shapes are then evaluated
    together, which costs a fraction of one after the other."""

    def __init__(self, library: Library, writer: TraceWriter, cells: int | str | None = None) -> None:
        self._cells = None if isinstance(cells, str) else cells  # about how many of each result, if not a few
        self._every = cells == ALL
        self._writer, self._finder = writer, Finder(library, writer.meta["equations"])
        self._numbers = NumbersWriter(writer.rank_folder)
        self._rows: list[tuple[int, int, tuple[Any, ...]]] = []  # step, order, row
        self._waiting: dict[tuple[Reading, Units], Group] = {}
        # Those of which each variant needs cells of its own.
        self._alone: list[tuple[Group, dict[int, _Apart | str]]] = []
        self._routes: dict[int, list[Route]] = {}  # of each equation the last ones
        self._held = 0
        self._judged = time.monotonic()

    def begin(self, call: Call) -> None:
        """Find the call's equations, and note what must be kept for them."""
        self._finder.begin(call)

    def finish(self, call: Call) -> None:
        """Read the cells for the call's equations; the verdicts come with `verdicts`."""
        for order, match in enumerate(call.equations):
            try:
                if not self._again(match, call, order):
                    self._read(match, call, order)
            except (Unbound, TraceError) as error:
                self._unchecked(call.step, order, match, str(error).rstrip("."))
            except Exception as error:  # a tensor of a kind nobody thought of must not end the recording
                self._unchecked(call.step, order, match, _failure(error))

    def verdicts(self, ended: bool) -> None:
        """Judge what waits, if there is enough of it or it has waited for long, and queue rows of the checks table.

        The more steps are judged together the less each costs."""
        if ended or time.monotonic() - self._judged > _SECONDS:
            self._evaluate()
            if ended:
                self._waiting = {}  # their memory, at once
        elif full := [group for group in self._waiting.values() if len(group.steps) >= group.together]:
            fetch(full)
            self._judge(full)
        self._numbers.close() if ended else self._numbers.flush()
        # of a step all rows together, so that its principal equation comes first
        waiting = {step for group in [*self._waiting.values(), *(g for g, _ in self._alone)] for step in group.steps}
        rows, self._rows = sorted(self._rows, key=lambda row: row[:2]), []
        for entry in rows:
            if entry[0] in waiting:
                self._rows.append(entry)
            else:
                self._writer.add("checks", entry[2])

    def _again(self, match: Match, call: Call, order: int) -> bool:
        """Read the cells as on an earlier call, if there was one like this."""
        key = id(match)  # the library keeps it, so that an id stays its own
        routes: dict[int, Route] = call.known.routes
        last = routes.get(key)
        if last is not None and self._follow(last, match, call, order):
            return True
        for route in self._routes.get(key, ()):
            if route is not last and self._follow(route, match, call, order):
                routes[key] = route
                return True
        return False

    def _follow(self, route: Route, match: Match, call: Call, order: int) -> bool:
        addresses = route.addresses(call)
        if addresses is None:
            return False
        reading = route.reading
        if route.numbers:
            self._numbers.note(call.step, call.place.name, match.equation.id, route.numbers)
        if route.passes(addresses):
            self._row(call.step, order, match, schema.HOLDS, 0.0, 0.0, reading.passes.cells, None, None)
            return True
        group = self._group(reading, match, reading.units())
        row = group.row(route.forms)
        route.copy(addresses, call.step, group.columns, row)
        group.took(call.step, order)
        self._hold(group)
        return True

    def _remember(self, match: Match, call: Call, route: Route) -> None:
        call.known.routes[id(match)] = route
        self._routes[id(match)] = [route, *self._routes.get(id(match), ())][:_MOST_ROUTES]

    def _read(self, match: Match, call: Call, order: int) -> None:
        asked = []
        for reference in match.bind.random:
            get = getter(reference)
            asked.append((reference.source, get, amount := get(call)))
            if amount:
                raise Unbound(f"random: {reference.source} is {amount}")
        tensors, numbers, found = resolve(match, call)
        if numbers:
            self._numbers.note(call.step, call.place.name, match.equation.id, numbers)
        reading = self._reading(match.equation, tensors, numbers)
        if reading.fit.together and not self._every:
            with suppress(ValueError):
                self._remember(match, call, Route(reading, numbers, [*asked, *found]))
        if reading.passes(tensors):
            return self._row(call.step, order, match, schema.HOLDS, 0.0, 0.0, reading.passes.cells, None, None)
        units = reading.units(tensors)
        if self._every:
            return self._check_all(match, call.step, order, reading, units, tensors)
        cells = reading.draw(tensors, call.step, units)
        if not reading.fit.together:
            alone = Group(reading, match, units)
            alone.add(call.step, order, cells)
            if not all(map(on_host, tensors.values())):  # which can be read only now, and judged only later
                apart = {id(v): _apart(v, alone, tensors, numbers) for _, v in reading.fit.variants}
                self._alone.append((alone, apart))
                return
            fetch([alone])
            return self._conclude(alone, lambda variant, _: _at_once(_apart(variant, alone, tensors, numbers)))
        group = self._group(reading, match, units)
        group.add(call.step, order, cells)
        self._hold(group)

    def _group(self, reading: Reading, match: Match, units: Units) -> Group:
        group = self._waiting.get((reading, units))
        if group is None:
            group = self._waiting[(reading, units)] = Group(reading, match, units)
        return group

    def _hold(self, group: Group) -> None:
        self._held += group.cells
        if len(group.steps) >= group.together and not group.awaited:  # at once, while they are in the caches
            self._judge([group])
        elif self._held > _MOST_HELD:
            self._evaluate()

    def _reading(
        self, equation: Equation, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float | str]
    ) -> Reading:
        parts: list[Any] = [id(equation), self._cells, *numbers.items()]
        for name, tensor in tensors.items():
            parts += name, tensor.shape, tensor.dtype
        key = tuple(parts)
        known, found = _readings.get(key, (None, ""))
        if known is not equation:
            forms = [(name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()]
            if len(_readings) >= _MOST_FITS:
                _readings.clear()
            try:
                shapes = tuple((name, tuple(shape)) for name, shape, _ in forms)
                fit = plan.fit(equation, shapes, tuple(numbers.items()))
                found = Reading(fit, numbers, {name: dtype for name, _, dtype in forms}, self._cells)
            except (TraceError, Unbound) as error:
                found = str(error)
            _readings[key] = equation, found  # which keeps it, so that its id stays its own
        if isinstance(found, str):
            raise Unbound(found)
        return found

    def _check_all(
        self, match: Match, step: int, order: int, reading: Reading, units: Units, tensors: Mapping[str, torch.Tensor]
    ) -> None:
        """Check every cell of one step, of the equation and, where it differs, of each variant."""
        outcome, fitting = judge_all(reading, reading.fit.plan, tensors, units), None
        if isinstance(outcome, Outcome) and not outcome.holds:
            dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
            for name, variant in reading.fit.variants:
                with suppress(Unbound, TraceError):
                    own = Reading(plan.join(variant), reading.numbers, dtypes)
                    found = judge_all(own, variant, tensors, own.units(tensors))
                    if isinstance(found, Outcome) and found.holds:
                        fitting = name
                        break
        self._verdict(step, order, match, outcome, fitting)

    def _evaluate(self) -> None:
        """Judge all that waits."""
        groups = {key: group for key, group in self._waiting.items() if group.steps}  # others' memory is let go
        alone, self._alone = self._alone, []
        self._judged = time.monotonic()
        every = [*groups.values(), *(group for group, _ in alone)]
        every += [one[1] for _, apart in alone for one in apart.values() if not isinstance(one, str)]
        fetch(every)
        self._judge(groups.values())
        self._waiting = groups if sum([group.room for group in groups.values()]) <= _MOST_HELD else {}
        for group, apart in alone:
            self._conclude(group, partial(_of_these, apart))

    def _judge(self, groups: Collection[Group]) -> None:
        """Judge groups whose cells are on the host."""
        for group in groups:
            self._conclude(group, partial(_judged, group))
            self._held -= len(group.steps) * group.cells
            group.clear()

    def _conclude(self, group: Group, judged: Callable[[plan.Plan, list[Array]], list[Outcome | str]]) -> None:
        """Judge steps of one equation, and for those that differ look for the variant that fits."""
        fit = group.reading.fit
        filled = group.filled
        outcomes = _judged(group, fit.plan, filled)
        differs = [at for at, o in enumerate(outcomes) if isinstance(o, Outcome) and not o.holds]
        fitting: dict[int, str] = {}
        for name, variant in fit.variants:
            open_ones = [at for at in differs if at not in fitting]
            if not open_ones:
                break
            columns = [column[open_ones] for column in filled]
            for at, found in zip(open_ones, judged(variant, columns), strict=True):
                if isinstance(found, Outcome) and found.holds:
                    fitting[at] = name
        for at, (step, order, outcome) in enumerate(zip(group.steps, group.orders, outcomes, strict=True)):
            self._verdict(step, order, group.match, outcome, fitting.get(at))

    def _verdict(self, step: int, order: int, match: Match, outcome: Outcome | str, fitting: str | None) -> None:
        if isinstance(outcome, str):
            return self._unchecked(step, order, match, outcome)
        verdict = schema.HOLDS if outcome.holds else schema.DIFFERS
        reason = None if outcome.holds else f"{outcome.symbol} is not what the equation gives"
        self._row(step, order, match, verdict, outcome.residual, outcome.bound, outcome.cells, fitting, reason)

    def _unchecked(self, step: int, order: int, match: Match, reason: str) -> None:
        self._row(step, order, match, schema.UNCHECKED, None, None, 0, None, reason)

    def _row(self, step: int, order: int, match: Match, *verdict: Any) -> None:
        self._rows.append((step, order, (step, match.equation.id, *verdict)))


def _judged(group: Group, fitted: plan.Plan, columns: list[Array]) -> list[Outcome | str]:
    """`judge`, so many at a time that what it makes stays small."""
    found: list[Outcome | str] = []
    for at in range(0, len(columns[0]), group.together):
        part = [column[at : at + group.together] for column in columns]
        try:
            found += judge(group.reading, fitted, group.units, part)
        except TraceError as error:
            found += [str(error).rstrip(".")] * len(part[0])
        except Exception as error:
            found += [_failure(error)] * len(part[0])
    return found


def _apart(
    variant: plan.Plan, alone: Group, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float | str]
) -> _Apart | str:
    """The cells that a variant needs for itself, read while the tensors are there."""
    try:
        reading = Reading(plan.join(variant), numbers, {name: tensor.dtype for name, tensor in tensors.items()})
        group = Group(reading, alone.match, reading.units(tensors))
        group.add(alone.steps[0], alone.orders[0], reading.draw(tensors, alone.steps[0], group.units))
        return variant, group
    except (Unbound, TraceError) as error:
        return str(error)


def _at_once(apart: _Apart | str) -> list[Outcome | str]:
    if isinstance(apart, str):
        return [apart]
    variant, group = apart
    fetch([group])
    return _judged(group, variant, group.filled)


def _of_these(apart: Mapping[int, _Apart | str], variant: plan.Plan, _: list[Array]) -> list[Outcome | str]:
    return _at_once(apart[id(variant)])


def _failure(error: Exception) -> str:
    return f"the check failed ({type(error).__name__}: {error})"
