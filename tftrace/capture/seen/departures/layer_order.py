"""Layers of one list that run in another order than they stand in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ...calls import Call
from ...torch_internals import children_of
from ..proposal import Proposal
from ..tape import Made

_LISTS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.Sequential)


class _Run(NamedTuple):
    """A layer that has run: its place in the list, its class, and from which step to which."""

    place: int
    kind: type
    began: int
    ended: int


class LayerOrder:
    """Knows which layers of each list have run in this forward."""

    def __init__(self, made: Callable[[torch.Tensor], Made | None]) -> None:
        self._made = made
        self._runs: dict[int, list[_Run]] = {}

    def clear(self) -> None:
        """A forward has ended."""
        self._runs.clear()

    def ended(self, call: Call, step: int) -> None:
        """A layer has run; `step` is the last one."""
        listed = _place(call)
        if listed is not None:
            self._runs.setdefault(listed[0], []).append(_Run(listed[1], type(call.owner), call.step, step))

    def begins(self, call: Call) -> Proposal | None:
        """A layer begins with what a later one of its list has just made, and had not run before."""
        listed = _place(call)
        runs = self._runs.get(listed[0]) if listed is not None else None
        if listed is None or not runs:
            return None
        before = runs[-1]
        again = any(one.place == listed[1] for one in runs)
        if again or before.place <= listed[1] or before.kind is not type(call.owner):
            return None
        given = next((one for one in call.arguments.values() if isinstance(one, torch.Tensor)), None)
        made = None if given is None else self._made(given)
        if given is None or made is None or not before.began <= made.step <= before.ended:
            return None
        found = Proposal("layer-order", call.step, {"x": given})
        found.values |= {"i": float(listed[1]), "j": float(before.place)}
        return found


def _place(call: Call) -> tuple[int, int] | None:
    """The list that a module stands in, by its id, and its place there; None where it stands in none."""
    path, _, last = call.name.rpartition(".")
    above = call.parent.module if call.parent is not None else None
    around: Any = None if above is None else above.owner
    inside = path[len(above.name) :].lstrip(".") if above is not None and path.startswith(above.name) else ""
    for name in inside.split(".") if inside else ():
        around = children_of(around).get(name) if isinstance(around, torch.nn.Module) else None
    if not isinstance(around, _LISTS) or children_of(around).get(last) is not call.owner:
        return None
    return id(around), list(children_of(around)).index(last)
