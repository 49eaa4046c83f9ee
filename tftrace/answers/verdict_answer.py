"""The verdicts of a run in sentences, and as an answer that fits: `tftrace check`, and the tool of that name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import describe
from ..describe.equations import judgement
from ..language import later, spoken, tr
from ..language.retell import retold
from ..navigate.accepted import NOTHING, Accepted
from ..navigate.difference_kinds import shown_verdict
from ..navigate.nonfinite import origins
from ..navigate.verdict_summary import VerdictSummary, summaries
from ..recipes.format.covers import COVERS
from ..text import number, visible
from ..trace import schema
from ..trace.trace import Trace
from .brief import cut, rounded
from .paged import Answer, Item, listed

UNCHECKED = later(
    "No equation was checked in this run: none that is known describes a step of it ('tftrace recipes' lists them, "
    "--recipes takes yours), or checks were off (by --no-check; at level modules they are on with --check only)."
)
EQUATIONS, DIFFERING, ALL = 1, 2, 3  # what --depth asks for
_REASONS, _TOLD = 3, 3  # reasons of an equation, and wrong equations in sentences


def verdict_answer(
    trace: Trace, accepted: Accepted = NOTHING, *, strict: bool = False, depth: int | None = None
) -> Answer:
    """What came of checking the equations of a run.

    Args:
        trace: The trace.
        accepted: The differences that are known and wanted.
        strict: Whether a difference by design counts, too.
        depth: 1 for an item for each equation, 2 for each step that differs, 3 for each check.
    """
    found = summaries(trace, accepted)
    wrong = [one for one in found if one.wrong or (strict and one.design_left)]
    made = [f"NaN or Inf was made: {line}" for line in describe.nan_lines(trace)]
    said = [totals(found) if found else tr(UNCHECKED)]
    said += [f"mode: {mode}"] if (mode := describe.mode(trace)) else []
    told = [wrong_sentence(trace, one) for one in wrong[:_TOLD]]
    made += [f"Nothing is left to accept of {entry}: take it out." for entry in accepted.unused(trace)]
    facts: dict[str, Any] = {"failed": bool(wrong or origins(trace).found)}
    facts |= {name: sum(getattr(one, name) for one in found) for name in ("holds", "differs", "design", "accepted")}
    facts |= {"wrong": sum(one.wrong for one in found), "unchecked": sum(one.unchecked for one in found)}
    code = int(facts["failed"])
    if depth is None or depth <= EQUATIONS:
        items = [] if depth == 0 else [(_equation(trace, one), _line(trace, one)) for one in found]
        return Answer("check", [*said, *made], listed(items), len(items), facts, told, code=code)
    verdict = trace.column("verdict", "checks")
    rows = np.arange(len(verdict)) if depth >= ALL else np.flatnonzero(verdict == schema.DIFFERS)

    def checks(start: int) -> Iterator[Item]:
        for row in rows[np.searchsorted(rows, start) :].tolist():
            yield _check(trace, row)

    return Answer("check", [*said, *told, *made], checks, len(rows), facts, code=code)


def totals(found: list[VerdictSummary]) -> str:
    """How many checks hold, differ and could not be made."""
    holds, differs, design, unchecked, accepted = (
        sum(getattr(s, name) for s in found) for name in ("holds", "differs", "design", "unchecked", "accepted")
    )
    more = tr(", {n} differ by design", n=design) if design else ""
    more += tr(" ({n} accepted)", n=accepted) if accepted else ""
    said = tr("{holds} checks hold, {differs} differ{more}, {unchecked} could not be made.",
              holds=holds, differs=differs - design, more=more, unchecked=unchecked)  # fmt: skip
    return said


def measured(summary: VerdictSummary) -> str:
    """The residual against its bound, and what the checks cover where that is less than the equation shows."""
    if summary.bound is None:
        return ""
    exact = not summary.differs and not summary.residual and not summary.bound
    relation = ">" if summary.differs else "≤"
    compared = tr("equal") if exact else f"{number(summary.residual)} {relation} {number(summary.bound)}"
    told = summary.covers in COVERS and summary.holds > 0
    if not told:
        return compared
    return f"{compared}  " + tr("{part} ✓: {rest}", part=retold(summary.covers), rest=COVERS[summary.covers][spoken()])


def said_of(trace: Trace, summary: VerdictSummary) -> Iterator[str]:
    """What is said of an equation: where it differs first, which variants fit, what is accepted, and why."""
    if summary.first is not None:
        yield tr("first at step {step}, {path}", step=summary.first, path=describe.path(trace, summary.first))
    for name, count in summary.variants.items():
        by_design = summary.kinds[name] == schema.DESIGN
        yield tr("fits: {name} ({n}, by design)" if by_design else "fits: {name} ({n})", name=retold(name), n=count)
    if summary.accepted:
        yield tr("accepted ({n}): {why}", n=summary.accepted, why="; ".join(summary.why))
    yield from (f"{retold(reason)} ({count})" for reason, count in list(summary.reasons.items())[:_REASONS])


def wrong_sentence(trace: Trace, summary: VerdictSummary) -> str:
    """A sentence on an equation that differs: `✗ attention differs at 2 of 3 steps, 0.25 > 1.2e-05; first at …`."""
    checked = summary.holds + summary.differs
    head = f"{describe.MARKS[summary.verdict]} {visible(summary.equation)} differs at {summary.differs} of {checked}"
    worst = f", {measured(summary)}" if summary.bound is not None else ""
    return "; ".join([f"{head} step{'s' if checked != 1 else ''}{worst}", *said_of(trace, summary)])


def _line(trace: Trace, summary: VerdictSummary) -> str:
    if summary.differs:
        return wrong_sentence(trace, summary)
    counts = f"{summary.holds} hold" + (f", {summary.unchecked} unchecked" if summary.unchecked else "")
    parts = [f"{describe.MARKS[summary.verdict]} {visible(summary.equation)}: {counts}", measured(summary)]
    return "; ".join(part for part in [*parts, *said_of(trace, summary)] if part)


def _equation(trace: Trace, one: VerdictSummary) -> dict[str, Any]:
    data: dict[str, Any] = {"mark": describe.MARKS[one.verdict], "kind": one.kind}
    data |= {"equation": cut(one.equation), "cite": cut(one.cite)}
    counted = ("holds", "differs", "design", "accepted", "wrong", "unchecked", "first")
    data |= {name: getattr(one, name) for name in counted}
    data["name"] = None if one.first is None else cut(describe.path(trace, one.first))
    data |= {"residual": rounded(one.residual, 2), "bound": rounded(one.bound, 2)}
    for key, given in (("variants", one.variants), ("reasons", one.reasons)):
        data[key] = {cut(name): count for name, count in list(given.items())[:_REASONS]}
    return data | ({"covers": cut(one.covers)} if one.covers else {})


def _check(trace: Trace, row: int) -> Item:
    at = int(trace.check_positions[row])
    check = trace.checks_of(at)[row - int(trace.bounds("checks")[at])]
    verdict = shown_verdict(trace, check)
    texts = {"equation": check.equation, "name": describe.path(trace, at), "verdict": verdict}
    data: dict[str, Any] = {"step": at} | {key: cut(text) for key, text in texts.items()}
    data |= {"residual": rounded(check.residual, 2), "bound": rounded(check.bound, 2), "cells": check.cells}
    data |= {"variant": cut(check.variant) or None, "reason": cut(check.reason) or None}
    judged = judgement(check, verdict)
    return Item(row, data, f"{at} {cut(texts['name'])}  {cut(check.equation)}  {cut(judged)}")
