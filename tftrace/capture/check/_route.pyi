"""See `_route.c`."""

import torch

from ..calls import Call
from .route import Item

def addresses(items: list[Item], call: Call) -> list[int] | None: ...
def settle(tensor: torch.Tensor) -> bytes: ...
def copy(layout: bytes, addresses: list[int], seed: int, bases: list[int], row: int) -> None: ...
