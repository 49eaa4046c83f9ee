"""Decides for each equation of each call whether it holds or differs, or why it cannot be checked.

While the model runs, only the drawn cells are read, as soon as a call has returned. They are judged later, many steps
at a time (see `verdicts`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any

import torch

from ...errors import TraceError
from ...recipes.evaluate.fitting import fit, join_plans
from ...recipes.evaluate.plan import Plan
from ...recipes.evaluate.value import Array
from ...recipes.format.evidence import GUESSED
from ...recipes.format.library import Library, Match
from ...recipes.format.recipe import Equation
from ...trace.scalars import NumbersWriter
from ...trace.writer import TraceWriter
from ..calls import Call
from ..measure.dequantized import inputs_too
from ..measure.kept_values import is_weight
from ..measure.plain_memory import address, is_spread
from ..measure.precision import Precision
from ..measure.stats import PLAIN
from ..seen.proposal import PATTERNS, Proposal
from ..torch_internals import parameters_of
from .batches import Group
from .cells import ALL, Reading, Units
from .finder import Finder, drops
from .flow import flow, seen
from .host_arrays import SPREAD
from .judge import Outcome, judge_all
from .masks import Sights
from .quick_checks import quick_checks, remember
from .references import Asked, Unbound, getter, proposed, resolve, tensor_of
from .route import Route
from .stated_epsilon import other_epsilons
from .stated_variants import StatedVariants
from .verdicts import EDITED, Verdicts, failure, fits

_MOST_FITS = 512  # readings that are remembered, of about 18 KB each; each token of a generation has its own shapes
_MOST_PRODUCTS = 1 << 21  # products for the cells of a step that its recipe calls costly
_MOST_ROUTES = 4  # routes that are tried if a call is unlike the last one of its module
_MOST_KNOWN = 128  # equations, as they are found and stated, whose routes later recordings try as well

# The readings of all recordings, as most are of the same few models; a text says why an equation cannot be read.
_readings: dict[Any, tuple[Equation, Reading | str]] = {}
# The routes of all recordings. That a call is like the one that made a route is asked of each call anyway.
_all_routes: dict[Any, tuple[Match, list[Route]]] = {}


class Checker:
    """Checks the equations of one recording. Cells are drawn by the number of the step, so that a run can be repeated.

    Args:
        library: All equations.
        writer: Receives the verdicts.
        cells: About how many cells of each result to check; `ALL` for every one, None for a few.
    """

    def __init__(self, library: Library, writer: TraceWriter, cells: int | str | None = None) -> None:
        self._cells = None if isinstance(cells, str) else cells
        self._every = cells == ALL
        self._finder, self._verdicts = Finder(library, writer.meta["equations"]), Verdicts(writer)
        self._numbers = NumbersWriter(writer.rank_folder)
        self._routes: dict[int, list[Route]] = {}  # the last routes of each equation, by id of the match
        self._precision = Precision()  # asked again when a forward begins
        self._sights = Sights()
        self._later: list[Callable[[], None]] = []  # readings that would wait for an accelerator in a forward
        self._stated = StatedVariants()
        parts = {**self._finder.parts(), **self._verdicts.parts(), **self._numbers.parts()}
        self._quick = quick_checks(self, inexact=inexact, **parts)
        if self._quick is not None:  # which leaves to `begin_anew` and `finish_from` what is unlike the call before
            vars(self).update(begin=self._quick.begin, finish=self._quick.finish)

    def begin(self, call: Call) -> None:
        """Find the equations of a call, and note what must be kept for them."""
        self.begin_anew(call)

    def finish(self, call: Call) -> None:
        """Read the cells for the equations of a call that has returned; `verdicts` gives the verdicts."""
        self.finish_from(call, 0)

    def begin_anew(self, call: Call) -> None:
        """Do what `begin` does, whatever the call is."""
        if call.parent is None and vars(now := Precision()) != vars(self._precision):
            self._precision = now
        self._finder.begin(call)

    def finish_from(self, call: Call, order: int) -> None:
        """Do what `finish` does, from this equation on."""
        if call.edited:
            for at, match in enumerate(call.equations):
                self._verdicts.unchecked(call.step, at, match, EDITED)
            return
        every = len(call.equations)
        if order < every and (why := inexact(call.owner)):
            self._verdicts.inexact(call.step, why)
        while order < every:
            self._check(call.equations[order], call, order)
            order += 1
            if order < every and self._quick is not None:
                order = self._quick.follow(call, order)

    def _check(self, match: Match, call: Call, order: int) -> None:
        """Read the cells for an equation of a call that has returned."""
        try:
            found, match = match, self._stated.of(match, call)
            last = call.known.routes.get(id(match))  # the library keeps the match, so that its id stays unique
            if last is not None and self._follow(last, match, call, order):
                if self._quick is not None:
                    remember(last, found, match, call, self._stated)
            elif not self._again(match, call, order, last):
                self._read(match, call, order)
        except (Unbound, TraceError) as error:
            self._verdicts.unchecked(call.step, order, match, str(error).rstrip("."))
        except Exception as error:  # a kind of tensor that nobody thought of must not end the recording
            self._verdicts.unchecked(call.step, order, match, failure(error))

    def seen(self, proposal: Proposal, call: Call) -> dict[str, dict[str, torch.Tensor]]:
        """Read the cells for what a call was seen to compute, while all of it is there; the call still runs.

        Returns:
            For each equation the tensors that its symbols stand for; of one that cannot be checked none.
        """
        found: dict[str, dict[str, torch.Tensor]] = {}
        for match in self._finder.seen(proposal.pattern):
            name, order = match.equation.id, proposal.rank - len(PATTERNS)  # before what is only guessed
            self._verdicts.seen(call.step)
            if (order, name) not in call.noted:
                call.noted = tuple(sorted((*call.noted, (order, name))))
            try:
                found[name] = self._look(match, proposal, call, order)
            except (Unbound, TraceError) as error:
                self._verdicts.unchecked(call.step, order, match, str(error).rstrip("."))
            except Exception as error:
                self._verdicts.unchecked(call.step, order, match, failure(error))
        return found

    def _look(self, match: Match, proposal: Proposal, call: Call, order: int) -> dict[str, torch.Tensor]:
        match = self._stated.of(match, call)
        tensors, numbers = proposed(match.bind, proposal)
        evidence = match.evidence if proposal.sure else GUESSED
        self._numbers.note(call.step, call.place.name, match.equation.id, numbers)
        reading = self._reading(match.equation, tensors, numbers)
        units = reading.units(tensors, self._precision)
        if self._every:
            self._check_all(match, call.step, order, reading, units, tensors, evidence)
        else:
            self._draw(match, call.step, order, reading, units, tensors, evidence)
        return tensors

    def edited(self, step: int, above: Sequence[int]) -> None:
        """Note that a step's result was changed on purpose; `above` are the steps that it is part of."""
        self._verdicts.edited(step, above)

    def verdicts(self, ended: bool) -> None:
        """Queue rows of what has been judged; if a forward has ended, judge everything first."""
        later, self._later = self._later, []
        for draw in later:
            draw()
        self._verdicts.write(ended)
        self._numbers.flush()

    def close(self) -> None:
        """End the stream of numbers; nothing more is checked."""
        self._numbers.close()

    def _again(self, match: Match, call: Call, order: int, last: Route | None) -> bool:
        """Read the cells as on an earlier call, if there was one like this other than the last of its module."""
        if other_epsilons(match.bind, call):
            return False
        routes = self._routes.get(id(match))
        if routes is None:  # a recording changes its own only
            routes = self._routes[id(match)] = [*map(copy, _all_routes.get(self._kind(match), (match, []))[1])]
        for route in routes:
            if route is not last and self._follow(route, match, call, order):
                call.known.routes[id(match)] = route
                return True
        return False

    def _follow(self, route: Route, match: Match, call: Call, order: int) -> bool:
        addresses = route.addresses(call)
        if addresses is None:
            return False
        reading, step = route.reading, call.step
        evidence = match.evidence if not match.bind.flow else seen(match, route.flows(addresses))
        if route.numbers:
            self._numbers.note(step, call.place.name, match.equation.id, route.numbers)
        if route.passes(addresses):
            self._verdicts.passed(step, order, match, reading.passes.cells)
            return True
        self._note_masks(reading, match, call, order)
        units = reading.units(None, self._precision)
        if route.draws:
            self._draw(match, step, order, reading, units, route.tensors(call), evidence)
            return True
        group = route.group = self._verdicts.group(route.group, reading, match, units, evidence)
        row = group.row(route.forms)
        route.copy(addresses, step, group, row)
        self._verdicts.took(group, step, order)
        return True

    def _remember(self, match: Match, call: Call, route: Route) -> None:
        call.known.routes[id(match)] = route
        self._routes[id(match)] = [route, *self._routes.get(id(match), ())][:_MOST_ROUTES]
        if len(_all_routes) >= _MOST_KNOWN:
            _all_routes.clear()
        known = _all_routes.setdefault(self._kind(match), (match, []))[1]
        known[:] = [copy(route), *known][:_MOST_ROUTES]

    def _kind(self, match: Match) -> Any:
        """What has the same routes in every recording; the match that is kept beside them keeps the ids its own."""
        return id(match.equation), id(match.bind), match.evidence, match.stated, match.against, self._every, self._cells

    def _read(self, match: Match, call: Call, order: int) -> None:
        step, asked = call.step, _amounts(match, call)
        tensors, numbers, found = resolve(match, call)
        if any(isinstance(value, torch.Tensor) and type(value) not in PLAIN for *_, value in found):
            parts = call.owner.modules() if isinstance(call.owner, torch.nn.Module) else ()
            if why := next(filter(None, map(_inputs_too, parts)), None):
                self._verdicts.inexact(step, why)
        flows, passed = flow(match.bind, call)
        evidence = match.evidence if not match.bind.flow else seen(match, passed)
        others = other_epsilons(match.bind, call)
        numbers |= others
        if numbers:
            self._numbers.note(step, call.place.name, match.equation.id, numbers)
        reading = self._reading(match.equation, tensors, numbers)
        if match.bind.costly and not self._every and reading.amount > _MOST_PRODUCTS:
            raise Unbound(match.bind.costly)
        if reading.fit.together and not self._every and not others:
            with suppress(ValueError):
                self._remember(match, call, Route(reading, numbers, asked + found + flows, call, tensors))
        if reading.passes(tensors):
            return self._verdicts.passed(step, order, match, reading.passes.cells)
        self._note_masks(reading, match, call, order)
        units = reading.units(tensors, self._precision)
        if self._every:
            return self._check_all(match, step, order, reading, units, tensors, evidence)
        if reading.waits and not all(tensor.is_cpu for tensor in tensors.values()):
            tensors = {name: t if is_weight(t) else t.detach().clone() for name, t in tensors.items()}
            return self._later.append(partial(self._draw, match, step, order, reading, units, tensors, evidence))
        self._draw(match, step, order, reading, units, tensors, evidence)

    def _draw(
        self,
        match: Match,
        step: int,
        order: int,
        reading: Reading,
        units: Units,
        tensors: Mapping[str, torch.Tensor],
        evidence: str,
    ) -> None:
        """Read a few cells of a step, to be judged with those of other steps."""
        cells = reading.draw(tensors, step, units)
        if reading.fit.together:
            group = self._verdicts.group(None, reading, match, units, evidence)
            group.put(cells)
            self._verdicts.took(group, step, order)
        else:
            group = Group(reading, match, units, evidence)
            group.put(cells)
            group.took(step, order)
            self._verdicts.alone(group, tensors)

    def _note_masks(self, reading: Reading, match: Match, call: Call, order: int) -> None:
        """Note what masks hide, to be said beside the verdict."""
        for symbol, shows in reading.masks.items():
            mask = tensor_of(match.bind, symbol, call)
            if mask is not None and address(mask):
                tell = self._sights.of(mask, shows).tell
                self._verdicts.beside(call.step, order, partial(tell, reading.numbers.get("c") == 1.0))

    def _reading(
        self, equation: Equation, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float | str]
    ) -> Reading:
        few = self._cells is None and not self._every
        parts: list[Any] = [id(equation), few, self._cells, *numbers.items()]
        for name, tensor in tensors.items():
            parts += name, tensor.shape, tensor.dtype
        key = tuple(parts)
        known, found = _readings.get(key, (None, ""))
        if known is not equation:
            if len(_readings) >= _MOST_FITS:
                _readings.clear()
            try:
                shapes = tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())
                fitted = fit(equation, shapes, tuple(numbers.items()), few)
                found = Reading(fitted, numbers, _dtypes(tensors), self._cells)
            except (TraceError, Unbound) as error:
                found = str(error)
            _readings[key] = equation, found  # keeps the equation, so that its id stays unique
        if isinstance(found, str):
            raise Unbound(SPREAD if any(map(is_spread, tensors.values())) else found)
        return found

    def _check_all(
        self,
        match: Match,
        step: int,
        order: int,
        reading: Reading,
        units: Units,
        tensors: Mapping[str, torch.Tensor],
        evidence: str,
    ) -> None:
        """Check every cell of a step, for the equation and, if that differs, for each variant."""

        def whole(variant: Plan, _: list[Array]) -> list[Outcome | str]:
            try:
                own = Reading(join_plans(variant), reading.numbers, _dtypes(tensors))
                return [judge_all(own, variant, tensors, own.units(tensors, self._precision))]
            except (Unbound, TraceError) as error:
                return [str(error)]

        outcomes = [judge_all(reading, reading.fit.plan, tensors, units)]
        (fitting,) = fits(match, reading.fit.variants, outcomes, [], whole)
        self._verdicts.judged(step, order, match, outcomes[0], fitting, evidence)


def inexact(owner: Any) -> str | None:
    """Why what a module returns may differ from its equations without being wrong."""
    if not isinstance(owner, torch.nn.Module):
        return None
    if owner.training and drops(owner):
        return "random: dropout is active (training mode)"
    return _inputs_too(owner)


def _inputs_too(owner: torch.nn.Module) -> str | None:
    """Why a module itself, whatever is in it, does not multiply what it is given with its weight."""
    weight = parameters_of(owner).get("weight")
    return None if weight is None or type(weight) in PLAIN else inputs_too(owner, weight)


def _amounts(match: Match, call: Call) -> Asked:
    """The sources that would make a call random, with their values; Unbound if one of them does."""
    asked: Asked = []
    for reference in match.bind.random:
        asked.append((reference.source, reference, amount := getter(reference)(call)))
        if amount:
            raise Unbound(f"random: {reference.source} is {amount}")
    return asked


def _dtypes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in tensors.items()}
