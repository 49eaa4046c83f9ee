"""The steps that a pattern and a condition find: the tool `find`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .. import describe
from ..navigate import condition
from ..navigate.breakpoints import named_steps
from ..trace.trace import Trace
from .brief import cut
from .paged import Answer, Item
from .step_items import step_item

_VALUES = 200  # characters of what a step returned


def found_answer(trace: Trace, pattern: str = "*", when: str = "") -> Answer:
    """The steps that match.

    Args:
        trace: The trace.
        pattern: A path or the end of one (`attention.self`, with `*`), a class, or a line (`modeling_bert.py:175`).
        when: A condition, such as `nan > 0` or `verdict = differs and depth < 4`; empty for none.

    Raises:
        TraceError: It is no condition.
    """
    wanted = named_steps(trace, pattern or "*")
    if when.strip():
        wanted = wanted & condition.fits(trace, condition.parse(when))
    found = np.flatnonzero(wanted)

    def items(start: int) -> Iterator[Item]:
        for at in found[np.searchsorted(found, start) :].tolist():
            item = step_item(trace, at, whole=True)
            values = "; ".join(describe.values(trace, at))
            line = f"{item.line}  ⇒ {cut(values, _VALUES)}" if values else item.line
            yield replace(item, data=item.data | {"values": cut(values, _VALUES)}, line=line)

    asked = cut(f"{pattern or '*'}{f' when {when}' if when.strip() else ''}")
    said = f"{len(found)} of {len(trace)} steps match {asked}."
    return Answer("find", [said], items, len(found), {"steps": len(trace)})
