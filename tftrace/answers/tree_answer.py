"""The tree of a run's calls to a depth, a line a step: `tftrace show --depth`, and the tool `outline`.

Whole columns decide which steps are shown, so that a run of a million steps is answered at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import describe
from ..navigate import findings
from ..trace import schema
from ..trace.trace import Trace
from .paged import Answer, Item
from .step_items import check_step, step_item

DEPTH = 2  # levels of nested calls
_MANY = 200_000  # steps of a run whose origins of NaN are not looked for before somebody asks for them
_ABOUT = ("mode", "text", "result", "error", "checks", "made", "missing")


def tree_answer(trace: Trace, step: int | None = None, depth: int | None = None) -> Answer:
    """The calls of a run, or those in one step with the lines that run in it directly.

    Args:
        trace: The trace.
        step: The step to look into; by default the whole run.
        depth: How many levels of nested calls below it, or below the outermost calls, are shown; by default 2.

    Raises:
        TraceError: There is no such step.
    """
    levels = max(0, DEPTH if depth is None else depth)
    first, last = (0, len(trace)) if step is None else (check_step(trace, step), int(trace.ends[step]))
    indents = trace.derived(_indents)
    base = int(indents[first]) if last > first else 0
    calls = trace.derived(_calls)[first:last]
    wanted = calls & (indents[first:last] <= base + levels)
    if step is not None:
        wanted |= ~calls & (trace.parents[first:last] >= first) & (indents[first:last] == base + 1)
        wanted[:1] = True
    shown = np.flatnonzero(wanted) + first

    def items(start: int) -> Iterator[Item]:
        for at in shown[np.searchsorted(shown, start) :].tolist():
            yield step_item(trace, at, int(indents[at]) - base)

    sentences = _about_run(trace) if step is None else [_about_step(trace, step)]
    facts = {"steps": len(trace), "forwards": describe.forward_count(trace), "root": step, "depth": levels}
    return Answer("show", sentences, items, len(shown), facts)


def _about_run(trace: Trace) -> list[str]:
    many = len(trace) > _MANY
    told = describe.about(trace, made=not many)
    model = " · ".join(value for name, value in told if name in ("model", "source"))
    steps = next((value for name, value in told if name == "steps"), "0").replace(" in ", " steps in ", 1)
    says = {"made": "NaN or Inf was made", "checks": "equations", "result": "it said"}
    rest = [f"{says.get(name, name)}: {value}" for name, value in told if name in _ABOUT]
    if many:
        count = int(findings.has_nan(trace).sum())
        rest.append(f"NaN in {count or 'no'} steps; nan says where NaN and Inf were made.")
    return [f"{model or 'a run'}: {steps}.", *rest]


def _about_step(trace: Trace, at: int) -> str:
    inside = int(trace.ends[at]) - at - 1
    within = f"{inside} step{'s' if inside != 1 else ''} inside it"
    above = trace.parent(at)
    return f"step {at} of {len(trace)} · {describe.path(trace, at)}: {within}" + (
        f"; called in step {above}." if above is not None else "."
    )


def _calls(trace: Trace) -> np.ndarray:
    """Which steps are calls of modules and functions."""
    codes, words = trace.words("kind")
    found: np.ndarray = np.isin(codes, [at for at, word in enumerate(words) if word in schema.CALLS])
    return found


def _indents(trace: Trace) -> np.ndarray:
    """How many calls are around each step."""
    size = len(trace)
    change = np.zeros(size + 1, np.int32)
    calls = np.flatnonzero(trace.derived(_calls))
    change[calls + 1] += 1
    change -= np.bincount(trace.ends[calls], minlength=size + 1).astype(np.int32)
    found: np.ndarray = np.cumsum(change, dtype=np.int32)[:size]
    return found
