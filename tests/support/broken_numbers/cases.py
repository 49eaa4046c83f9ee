"""What a case is, and the ways to add one; all are in `CASES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class Broken:
    """A model and its inputs; what its first origin is to be: part of the line, name and type of the innermost module,
    cause and part of the detail. Without a line there is to be none, and something innocent."""

    model: nn.Module
    inputs: tuple[Any, ...]
    line: str = ""
    module: tuple[str, str] = ("", "")
    cause: str = ""
    detail: str = ""
    origins: int = 1
    hidden: bool = False  # whether without lines nothing of it is left to see


CASES: dict[str, Callable[[], Broken]] = {}


def case(make: Callable[[], Broken]) -> Callable[[], Broken]:
    CASES[make.__name__] = make
    return make


def one_line(name: str, forward: Callable[..., Any], *inputs: torch.Tensor, **expected: Any) -> None:
    """A case of one module of the type `name` whose forward is this function, within a model of the name Model."""
    inner = type(name, (nn.Module,), {"forward": forward})

    def make() -> Broken:
        return Broken(Model(inner()), inputs, module=("inner", name), **expected)

    CASES[name] = make


class Model(nn.Module):
    """Something before, something after."""

    inner: Any  # a module of the case's own

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.after = inner, nn.Identity()

    def forward(self, *inputs: torch.Tensor) -> Any:
        found = self.inner(*inputs)
        return self.after(found + 1)


def numbers(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(*shape, generator=generator) * scale).to(dtype)


HALF, BRAIN = torch.float16, torch.bfloat16
