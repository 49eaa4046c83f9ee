"""Judges the cells that were read, many steps of an equation at a time, and writes the rows of the checks table."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ...errors import TraceError
from ...recipes.evaluate.fitting import join_plans
from ...recipes.evaluate.plan import Plan
from ...recipes.evaluate.value import Array
from ...recipes.format.contrary import against, unapplied
from ...recipes.format.evidence import FLOWS, STATED, WIRED
from ...recipes.format.library import Match
from ...trace import schema
from ...trace.writer import TraceWriter
from ..measure.precision import Precision
from .batches import Group, fetch
from .cells import Reading, Units
from .host_arrays import on_host
from .judge import Outcome, judge
from .references import Unbound

_MOST_HELD = 1 << 22  # cells that may wait to be judged; 16 to 32 MB
_SECONDS = 5.0  # how long verdicts may wait; judging takes 10 to 20 ms, however few steps there are

_MOST_SEEN = 1 << 16  # steps that are remembered because something was seen in them
EDITED, EDITED_BELOW = "edited", "a step below was edited"
LOOKS_LIKE = "looks like {} by its names, computes something else"

_Apart = tuple[Plan, Group]


class Verdicts:
    """The verdicts of one recording.

    Steps of the same equation and shapes wait until there are enough; `write` judges those that have waited long.
    """

    def __init__(self, writer: TraceWriter) -> None:
        self._writer = writer
        self._rows: list[tuple[int, int, tuple[object, ...]]] = []  # step, order, row
        self._waiting: dict[tuple[Reading, Units, str, int], Group] = {}
        # Steps whose variants need cells of their own.
        self._alone: list[tuple[Group, dict[int, _Apart | str]]] = []
        self._held = 0
        self._inexact: dict[int, str] = {}  # steps that may differ for a reason
        self._edited: dict[int, bool] = {}  # steps whose result was changed on purpose, and (False) those above them
        self._seen: set[int] = set()  # steps that were seen to compute something
        self._beside: dict[tuple[int, int], list[Callable[[], str | None]]] = {}  # by step and order
        self._judged = time.monotonic()

    def parts(self) -> dict[str, Any]:
        """What compiled code works on in our place."""
        return {"verdicts": self, "of_verdicts": self.__dict__, "holds": schema.HOLDS, "most": _MOST_HELD}

    # -- verdicts that are known at once ------------------------------------------------------------------------

    def passed(self, step: int, order: int, match: Match, cells: int) -> None:
        """Note that an equation holds because a step only passed tensors on."""
        self._row(step, order, match, schema.HOLDS, 0.0, 0.0, cells, None, None)

    def seen(self, step: int) -> None:
        """Note that a step was seen to compute an equation, whatever else is guessed about it."""
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.add(step)

    def inexact(self, step: int, why: str) -> None:
        """Note why a step may differ without being wrong, such as active dropout."""
        self._inexact[step] = why

    def edited(self, step: int, above: Iterable[int]) -> None:
        """Note that a step's result was changed on purpose; `above` are the steps that it is part of."""
        for one in above:
            self._edited.setdefault(one, False)
        self._edited[step] = True

    def beside(self, step: int, order: int, tell: Callable[[], str | None]) -> None:
        """Note what to say beside the verdict if the equation holds; `tell` is called when it has been judged."""
        self._beside.setdefault((step, order), []).append(tell)

    def unchecked(self, step: int, order: int, match: Match, reason: str) -> None:
        """Note that an equation cannot be checked on a step.

        One that is only guessed says nothing then of a step that was seen to compute something.
        """
        if match.evidence != STATED and order >= 0 and step in self._seen:
            self._beside.pop((step, order), None)
            return
        self._row(step, order, match, schema.UNCHECKED, None, None, 0, None, reason)

    def judged(
        self,
        step: int,
        order: int,
        match: Match,
        outcome: Outcome | str,
        fitting: str | None,
        evidence: str = STATED,
    ) -> None:
        """Note the outcome of a check.

        A step is said to differ only if the equation was stated, or seen, to describe it, or if a variant of the kind
        `design` fits.

        Args:
            step: The number of the step.
            order: The index of the equation among those of the step.
            match: The equation.
            outcome: The outcome, or a text that says why there is none.
            fitting: The variant that fits, if the equation does not.
            evidence: What shows that the equation describes the step.
        """
        if isinstance(outcome, str):
            return self.unchecked(step, order, match, outcome)
        if not outcome.holds and not described(match, evidence, outcome, fitting):
            return self.unchecked(step, order, match, LOOKS_LIKE.format(match.equation.id))
        if not outcome.holds and fitting is None and step in self._inexact:
            return self.unchecked(step, order, match, self._inexact[step])
        verdict = schema.HOLDS if outcome.holds else schema.DIFFERS
        reason: str | None = f"{outcome.symbol} is not what the equation gives"
        if outcome.holds:
            said = [tell() for tell in self._beside.get((step, order), ())]
            reason = "; ".join(filter(None, [schema.SINGLE if outcome.single else None, *said])) or None
        self._row(step, order, match, verdict, outcome.residual, outcome.bound, outcome.cells, fitting, reason)

    def _row(self, step: int, order: int, match: Match, *verdict: object) -> None:
        self._beside.pop((step, order), None)
        edited = self._edited.get(step)
        if edited or (edited is False and verdict[0] == schema.DIFFERS):
            verdict = (schema.UNCHECKED, None, None, 0, None, EDITED if edited else EDITED_BELOW)
        self._rows.append((step, order, (step, match.equation.id, *verdict)))

    # -- verdicts that come later -------------------------------------------------------------------------

    def group(self, known: Group | None, reading: Reading, match: Match, units: Units, evidence: str = STATED) -> Group:
        """Find the group for steps that are read in this way.

        It is the `known` group, if that has these units and this evidence and no other has taken its place.
        """
        if known is None or known.units != units or known.evidence != evidence:
            known = None
        elif known.steps:
            return known  # only groups that are in use have steps
        key = (reading, units, evidence, id(match))  # which the library or the checker keeps
        found = self._waiting.get(key)
        if found is None:
            found = self._waiting[key] = known or Group(reading, match, units, evidence)
        return found

    def took(self, group: Group, step: int, order: int) -> None:
        """Note that a step was put into the next row of its group."""
        group.took(step, order)
        self._held += group.cells
        if len(group.steps) >= group.together and not group.awaited:  # at once, while the cells are in the caches
            self._judge([group])
        elif self._held > _MOST_HELD:
            self._evaluate()

    def alone(self, group: Group, tensors: Mapping[str, torch.Tensor]) -> None:
        """Judge a step whose variants need cells of their own."""
        if not all(map(on_host, tensors.values())):  # these can be read only now, and judged only later
            apart = {id(v): _apart(v, group, tensors) for _, v in group.reading.fit.variants}
            self._alone.append((group, apart))
            return
        fetch([group])
        self._conclude(group, lambda variant, _: _at_once(_apart(variant, group, tensors)))

    # -- judging --------------------------------------------------------------------------------------

    def write(self, ended: bool) -> None:
        """Judge steps if there are enough or they have waited long, or all if a forward `ended`; then queue rows."""
        if ended or time.monotonic() - self._judged > _SECONDS:
            self._evaluate()
            if ended:
                _release(self._waiting.values())
        elif full := [group for group in self._waiting.values() if len(group.steps) >= group.together]:
            fetch(full)
            self._judge(full)
        # all rows of a step together, so that its principal equation comes first
        waiting = {step for group in [*self._waiting.values(), *(g for g, _ in self._alone)] for step in group.steps}
        self._inexact = {step: why for step, why in self._inexact.items() if step in waiting}
        rows, self._rows = sorted(self._rows, key=lambda row: row[:2]), []
        ready: list[tuple[object, ...]] = []
        for entry in rows:
            if entry[0] in waiting:
                self._rows.append(entry)
            elif ready and ready[-1][:2] == entry[2][:2]:
                ready[-1] = both(ready[-1], entry[2])
            else:
                ready.append(entry[2])
        for row in ready:
            self._writer.add("checks", row)

    def _evaluate(self) -> None:
        """Judge all steps that wait."""
        groups = {key: group for key, group in self._waiting.items() if group.steps}
        _release(group for group in self._waiting.values() if not group.steps)
        alone, self._alone = self._alone, []
        self._judged = time.monotonic()
        every = [*groups.values(), *(group for group, _ in alone)]
        every += [one[1] for _, apart in alone for one in apart.values() if not isinstance(one, str)]
        fetch(every)
        self._judge(groups.values())
        self._waiting = groups
        if sum([group.room for group in groups.values()]) > _MOST_HELD:
            _release(groups.values())
            self._waiting = {}
        for group, apart in alone:
            self._conclude(group, partial(_of_these, apart))

    def _judge(self, groups: Collection[Group]) -> None:
        """Judge groups whose cells are all on the host."""
        for group in groups:
            self._conclude(group, partial(_judged, group))
            self._held -= len(group.steps) * group.cells
            group.clear()

    def _conclude(self, group: Group, judge: Callable[[Plan, list[Array]], list[Outcome | str]]) -> None:
        """Judge the steps of a group, and find the variant that fits for those that differ."""
        fit, filled = group.reading.fit, group.filled
        outcomes = _judged(group, fit.plan, filled)
        fitting = fits(group.match, fit.variants, outcomes, filled, judge)
        for step, order, outcome, name in zip(group.steps, group.orders, outcomes, fitting, strict=True):
            self.judged(step, order, group.match, outcome, name, group.evidence)


def fits(
    match: Match,
    variants: Iterable[tuple[str, Plan]],
    outcomes: list[Outcome | str],
    filled: list[Array],
    judge: Callable[[Plan, list[Array]], list[Outcome | str]],
) -> list[str | None]:
    """The variant that fits each step that differs, or what it is contrary to. A step where the equation holds, but not
    the variant that is stated, differs as well: `outcomes` then has what is wrong with that."""
    fitting: list[str | None] = [None] * len(outcomes)

    def judged(variant: Plan, holds: bool) -> Iterator[tuple[int, Outcome]]:
        """What a variant gives for the steps of which nothing is said yet, where the equation holds or does not."""
        at = [i for i, o in enumerate(outcomes) if isinstance(o, Outcome) and o.holds is holds and fitting[i] is None]
        found = judge(variant, [column[at] for column in filled]) if at else []
        yield from ((i, one) for i, one in zip(at, found, strict=True) if isinstance(one, Outcome))

    for name, variant in variants:
        for at, found in judged(variant, False):
            if found.holds:
                fitting[at] = against(name) if contrary(match, name) else name
    for name, variant in variants if match.stated else ():
        for at, found in judged(variant, True) if name in match.stated else ():
            if not found.holds:
                outcomes[at], fitting[at] = found, unapplied(name)
    return fitting


def contrary(match: Match, variant: str) -> bool:
    """Whether a variant contradicts what is stated: by itself, or because another one is."""
    kinds = {one.name: one.kind for one in match.equation.variants}
    other = bool(match.stated) and variant not in match.stated and kinds.get(variant) == schema.DESIGN
    return variant in match.against or other


def described(match: Match, evidence: str, outcome: Outcome, fitting: str | None) -> bool:
    """Whether an equation describes a step on which it does not hold.

    It does if that was stated, or if tensors were seen to flow as the bind or the formula says. Of the sums of a layer,
    one must be right as well, or a variant must fit; if each branch is scaled, no sum is.
    """
    if evidence in (STATED, FLOWS):
        return True
    kinds = {variant.name: variant.kind for variant in match.equation.variants}
    if fitting is not None and kinds.get(fitting) == schema.DESIGN:
        return True
    sums = match.equation.covers == "sum"
    return evidence == WIRED and outcome.wired and (not sums or outcome.partly or fitting is not None)


def both(one: Sequence[Any], two: Sequence[Any]) -> tuple[Any, ...]:
    """One row of two of the same step and equation, which it computed more than once: what differs decides, then what
    holds; the worst cell of all."""
    kinds = (schema.DIFFERS, schema.HOLDS, schema.UNCHECKED)
    first, second = sorted((one, two), key=lambda row: (kinds.index(row[2]), -_share(row)))
    return (*first[:5], first[5] + second[5], *first[6:])


def _share(row: Sequence[Any]) -> float:
    """Of a row of the checks table how much of the bound the worst cell takes."""
    return row[3] / row[4] if row[3] and row[4] else 0.0


def failure(error: Exception) -> str:
    """Why there is no verdict after an unexpected exception."""
    return f"the check failed ({type(error).__name__}: {error})"


def _release(groups: Iterable[Group]) -> None:
    for group in groups:
        group.release()


def _judged(group: Group, fitted: Plan, columns: list[Array]) -> list[Outcome | str]:
    """Do what `judge` does, in parts that take little memory."""
    found: list[Outcome | str] = []
    for at in range(0, len(columns[0]), group.together):
        part = [column[at : at + group.together] for column in columns]
        try:
            found += judge(group.reading, fitted, group.units, part)
        except TraceError as error:
            found += [str(error).rstrip(".")] * len(part[0])
        except Exception as error:
            found += [failure(error)] * len(part[0])
    return found


def _apart(variant: Plan, alone: Group, tensors: Mapping[str, torch.Tensor]) -> _Apart | str:
    """Read the cells that a variant needs for itself, while the tensors exist."""
    try:
        dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
        reading = Reading(join_plans(variant), alone.reading.numbers, dtypes)
        group = Group(reading, alone.match, reading.units(tensors, Precision()))
        group.put(reading.draw(tensors, alone.steps[0], group.units))
        group.took(alone.steps[0], alone.orders[0])
        return variant, group
    except (Unbound, TraceError) as error:
        return str(error)


def _at_once(apart: _Apart | str) -> list[Outcome | str]:
    if isinstance(apart, str):
        return [apart]
    variant, group = apart
    fetch([group])
    return _judged(group, variant, group.filled)


def _of_these(apart: Mapping[int, _Apart | str], variant: Plan, _: list[Array]) -> list[Outcome | str]:
    return _at_once(apart[id(variant)])
