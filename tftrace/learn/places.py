"""Places of a lesson: patterns that hold on any model of the kind, and the steps of a run that they lead to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import describe
from ..compare import Role, roles
from ..navigate import siblings
from ..navigate.breakpoints import named_steps
from ..trace import schema
from ..trace.trace import Trace
from .lesson import Place
from .reading import Table

_STACKS = ("encoder", "decoder")
ROLES = (
    "model", "embeddings", "token embedding", "position embedding", "segment embedding", "embedding norm", "layer",
    "query projection", "key projection", "value projection", "query, key and value projection",
    "attention", "attention block", "attention output", "norm of attention",
    "cross-attention", "cross-attention block", "cross-attention output", "norm of cross-attention",
    "feed-forward in", "feed-forward gate", "activation", "feed-forward out", "norm of feed-forward",
    "pooler", "final norm", "head",
)  # fmt: skip


def read_place(table: Table) -> Place:
    """The place that a table describes."""
    found = Place(
        table.choice("role", ROLES),
        table.number("layer", -99, 999),
        table.choice("stack", _STACKS),
        table.text("step"),
        table.text("equation"),
        table.text("line"),
    )
    if not any(table.has(key) for key in ("role", "step", "equation")):
        table.wrong("a place needs a role, a step or an equation: go = { role = 'attention', layer = 0 }.")
    table.end()
    return found


def find_place(trace: Trace, places: Sequence[Place]) -> int | None:
    """The position of the first of these places that the run has; None if it has none."""
    return next((at for place in places if (at := _find(trace, place)) is not None), None)


def matching(trace: Trace, place: Place) -> list[int]:
    """Positions of all calls that a place describes, in order; of roles those of the first forward pass."""
    if place.role:
        found = [one for one in trace.derived(_roles) if one.part == place.role]
        found = [one for one in found if not place.stack or one.stack == place.stack]
        wanted = _from_last(place.layer, [one.layer for one in found])
        return [one.position for one in found if place.layer is None or one.layer == wanted]
    fits = named_steps(trace, place.step) if place.step else np.ones(len(trace), bool)
    if place.equation:
        codes, names = trace.words("equation", "checks")
        rows = codes == (names.index(place.equation) if place.equation in names else -2)
        fits &= np.isin(np.arange(len(trace)), trace.positions("checks")[rows])
    return _of_layer(trace, np.flatnonzero(fits).tolist(), place)


def _of_layer(trace: Trace, found: list[int], place: Place) -> list[int]:
    """Those of a layer and a stack, by the path."""
    if place.stack:
        names = trace.column("name")
        found = [at for at in found if place.stack in str(names[at] or "").lower()]
    if place.layer is None:
        return found
    numbers = [siblings.layer(trace, at) for at in found]
    wanted = _from_last(place.layer, numbers)
    return [at for at, number in zip(found, numbers, strict=True) if number == wanted]


def _roles(trace: Trace) -> list[Role]:
    return roles(trace)


def _from_last(layer: int | None, numbers: Sequence[int | None]) -> int | None:
    """A layer by its number, a negative one counted from the last."""
    if layer is None or layer >= 0:
        return layer
    return max((one for one in numbers if one is not None), default=0) + 1 + layer


def _find(trace: Trace, place: Place) -> int | None:
    found = matching(trace, place)
    if not place.line:
        return found[0] if found else None
    kinds = trace.column("kind")
    for start in found:
        for at in range(start + 1, int(trace.ends[start])):
            if kinds[at] == schema.LINE and place.line in describe.statement(trace, at):
                return at
    return None
