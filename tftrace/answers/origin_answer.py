"""Where NaN and Inf were made, as an answer that fits: `tftrace nan`, and the tool of that name."""

from __future__ import annotations

from typing import Any

from .. import describe
from ..language import tr
from ..navigate.nonfinite import Origin, origins
from ..trace.trace import Trace
from .brief import cut
from .paged import Answer, listed

GROUPED, EACH = 1, 2  # what --depth asks for


def origin_answer(trace: Trace, *, depth: int | None = None) -> Answer:
    """The origins of the NaN and Inf of a run.

    Args:
        trace: The trace.
        depth: 1 for those of one line with one cause as one item, 2 for each of them.
    """
    found = origins(trace)
    groups = grouped(found.found) if depth is None or depth < EACH else [(one, []) for one in found.found]
    items = [] if depth == 0 else [(_origin(one, again), _line(trace, one, again)) for one, again in groups]
    facts = {"found": bool(found.found), "origins": len(found.found), "innocent": found.innocent}
    said = totals(len(found.found), found.innocent)
    told = [f"First: {describe.nan_title(trace, one)}: {describe.nan_sentence(one)}." for one in found.found[:1]]
    return Answer("nan", [said], listed(items), len(items), facts, told, code=int(bool(found.found)))


def totals(count: int, innocent: int) -> str:
    """How many origins there are, and how many places made what harms nothing."""
    made = tr("No NaN or Inf was made.")
    if count:
        made = tr("{n} origin of NaN or Inf." if count == 1 else "{n} origins of NaN or Inf.", n=count)
    one = innocent == 1
    places = tr("{n} place made some that harms nothing." if one else "{n} places made some that harms nothing.",
                n=innocent)  # fmt: skip
    return f"{made} {places}" if innocent else made


def grouped(found: tuple[Origin, ...]) -> list[tuple[Origin, list[int]]]:
    """The origins, those of one line with one cause as one, with the steps at which it came again."""
    groups: dict[tuple[object, ...], tuple[Origin, list[int]]] = {}
    for one in found:
        key = (one.name, one.type, one.file, one.line, one.tensor, one.what, one.cause)
        groups.setdefault(key, (one, []))[1].append(one.step)
    return [(one, steps[1:]) for one, steps in groups.values()]


def again_sentence(again: list[int]) -> str:
    """At how many later steps it came again."""
    return tr("and again at {n} later steps, up to step {last}", n=len(again), last=again[-1])


def _origin(one: Origin, again: list[int]) -> dict[str, Any]:
    data = {key: cut(value) if isinstance(value, str) else value for key, value in one.to_dict().items()}
    return data | {"again": len(again)}


def _line(trace: Trace, one: Origin, again: list[int]) -> str:
    written = describe.statement(trace, one.step) if one.line is not None else ""
    parts = [describe.nan_title(trace, one), cut(written), describe.nan_sentence(one)]
    return "; ".join([": ".join(part for part in parts if part), *([again_sentence(again)] if again else [])])
