"""Checks the flow of tensors that a bind states: which tensors of the parts are one and the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from ...recipes.format.evidence import FLOWS, GUESSED, STATED
from ...recipes.format.library import Match
from ...recipes.format.recipe import Bind
from ..calls import Call
from ..measure.plain_memory import address
from .references import Asked, Unbound, getter

FLOW = "="  # with this the names of these sources begin


def seen(match: Match, passed: bool) -> str:
    """The evidence for an equation whose bind states a flow; `passed` says whether that was seen."""
    return match.evidence if match.evidence in (STATED, GUESSED) else FLOWS if passed else GUESSED


def flow(bind: Bind, call: Call) -> tuple[Asked, bool]:
    """Check the flow that a bind states.

    Returns:
        The sources that were tried for both sides of each statement, with their values; and whether the two sides of
        every statement are the same tensor.
    """
    asked: Asked = []
    same = True
    for number, sides in enumerate(bind.flow):
        found = []
        for at, side in enumerate(sides):
            value = None
            for source in side.sources:
                with suppress(Unbound):  # it was changed since, and is therefore another tensor
                    value = getter(source)(call)
                asked.append((f"{FLOW}{number:03}.{at}", source, value))
                if isinstance(value, torch.Tensor):
                    break
            found.append(value)
        same = same and _same(*found)
    return asked, same


def _same(one: Any, two: Any) -> bool:
    """Whether both are tensors of the same numbers in memory, in whatever shape."""
    if not isinstance(one, torch.Tensor) or not isinstance(two, torch.Tensor):
        return False
    if one is two:
        return True
    return (
        one.numel() == two.numel() and one.dtype is two.dtype and bool(place := address(one)) and place == address(two)
    )
