"""One module of the corpus: a model, what it is given, and the equations that must hold on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, tuple[Any, ...]]


class Entry:
    """A module of the corpus, made anew each time."""

    def __init__(self, make: Callable[[], Made], style: str, holds: tuple[str, ...]) -> None:
        self.make, self.style, self.holds, self.name = make, style, holds, make.__name__

    @property
    def has_attention(self) -> bool:
        """Whether attention is to be found in it."""
        return "attention" in self.holds

    def __call__(self) -> Made:
        torch.manual_seed(0)
        model, given = self.make()
        for weight in model.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.4)
        return model.eval(), given


def style(name: str, found: list[Entry]) -> Callable[..., Callable[[Callable[[], Made]], Callable[[], Made]]]:
    """A decorator that adds modules of one style to a list: `@ordinary("attention")` names what must hold."""

    def ordinary(*holds: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
        def add(make: Callable[[], Made]) -> Callable[[], Made]:
            found.append(Entry(make, name, holds))
            return make

        return add

    return ordinary


def floats(*shape: int) -> torch.Tensor:
    """Random numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def tokens(*shape: int, most: int = 20) -> torch.Tensor:
    """Random token numbers, the same each time."""
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(1))
