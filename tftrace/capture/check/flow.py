"""The flow of tensors that a bind states: which of the parts' tensors are one and the same."""

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

FLOW = "="  # begins the names of what was asked for here


def seen(match: Match, passed: bool) -> str:
    """What speaks for an equation whose bind states a flow, which was seen or not."""
    return match.evidence if match.evidence in (STATED, GUESSED) else FLOWS if passed else GUESSED


def flow(bind: Bind, call: Call) -> tuple[Asked, bool]:
    """What was asked for the two sides of each statement, and whether all are tensors that are the same."""
    asked: Asked = []
    same = True
    for number, sides in enumerate(bind.flow):
        found = []
        for at, side in enumerate(sides):
            value = None
            for source in side.sources:
                with suppress(Unbound):  # changed since, which makes it another tensor
                    value = getter(source)(call)
                asked.append((f"{FLOW}{number:03}.{at}", source, value))
                if isinstance(value, torch.Tensor):
                    break
            found.append(value)
        same = same and _same(*found)
    return asked, same


def _same(one: Any, two: Any) -> bool:
    """Whether both are the same numbers in memory, however they are laid out."""
    if not isinstance(one, torch.Tensor) or not isinstance(two, torch.Tensor):
        return False
    if one is two:
        return True
    return (
        one.numel() == two.numel() and one.dtype is two.dtype and bool(place := address(one)) and place == address(two)
    )
