"""See `_route.c`."""

from typing import Any

import torch

from ..calls import Call
from .route import Item

class Plan:
    """What is remembered of a route: what `Route.parts` gives, and

    match, id: The equation, with what is stated about it; its id.
    owner: A weak reference to the module that states it; None if nothing is stated.
    masks, products: Whether its masks are noted, and whether unit roundoffs depend on how products are computed.
    cells: How many cells it says something about that only passes tensors on.
    usual: The unit roundoffs, if they depend on nothing.
    guessed, flowing: The evidence, if tensors do not flow as the bind says, and if they do.
    """

    def __init__(self, **parts: Any) -> None: ...

class Checks:
    def __init__(self, **parts: Any) -> None: ...
    def begin(self, call: Call, /) -> None: ...
    def finish(self, call: Call, /) -> None: ...
    def follow(self, call: Call, at: int, /) -> int: ...

def addresses(items: list[Item], call: Call) -> list[int] | None: ...
def settle(tensor: torch.Tensor) -> bytes: ...
def copy(layout: bytes, addresses: list[int], seed: int, bases: list[int], row: int) -> bool: ...
def bind(call: type, group: type, known: type, /) -> None: ...
