"""Ways to break a model, by the equation that must see each: gathered in the files `breaks_*.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

Patch = pytest.MonkeyPatch

BROKEN: dict[str, list[tuple[Callable[[Patch], tuple[nn.Module, Any]], str | None]]] = {}


def breaks(equation: str, variant: str | None = None) -> Callable[[Any], Any]:
    """Register a way to break the model that `equation` must see, and the known variant that it must name."""

    def register(build: Callable[[Patch], tuple[nn.Module, Any]]) -> Any:
        BROKEN.setdefault(equation, []).append((build, variant))
        return build

    return register


def leaf(
    equation: str, module: nn.Module, forward: Callable[..., torch.Tensor], x: Any = None, variant: str | None = None
) -> None:
    """A leaf module whose forward computes something else."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        patch.setattr(type(module), "forward", forward)
        return module, torch.randn(3, 5, 8) if x is None else x

    breaks(equation, variant)(build)
