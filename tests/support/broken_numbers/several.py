"""Cases in which there is more than one origin, or more than one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .cases import HALF, Broken, Model, case, numbers


@case
def two_origins() -> Broken:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            a = x.relu().log()
            b = torch.sqrt(y)
            return a + b

    return Broken(Model(Two()), (numbers(2, 5, 8), numbers(2, 5, 8)), ".log()", ("inner", "Two"), "log 0", origins=2)


@case
def one_that_is_kept_in_a_list() -> Broken:
    class Gather(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x: torch.Tensor) -> Any:
            found = []
            for at in range(3):
                part = x * (1.0 if at != 1 else 1e5)
                found.append(part)
            whole = torch.cat(found, -1)
            total = torch.zeros_like(whole)
            total[:, 1:] = whole[:, 1:]
            return self.part(total.float())

    return Broken(
        Model(Gather()), (numbers(2, 5, 8, scale=3, dtype=HALF),), "part = x *", ("inner", "Gather"), "overflow"
    )
