"""Ways to break a model, by the equation that must see each: gathered in the files `breaks_*.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
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


def in_place(patch: Patch, module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    """A function put in the place of a module's own: its calls look as if its code stood in that module."""
    names: dict[str, Any] = {"co_filename": module.__file__, "co_name": name}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = name
    assert isinstance(function, FunctionType)
    function.__code__ = function.__code__.replace(**names)
    patch.setattr(module, name, function)


def leaf(
    equation: str, module: nn.Module, forward: Callable[..., torch.Tensor], x: Any = None, variant: str | None = None
) -> None:
    """A leaf module whose forward computes something else."""

    def build(patch: Patch) -> tuple[nn.Module, Any]:
        patch.setattr(type(module), "forward", forward)
        return module, torch.randn(3, 5, 8) if x is None else x

    breaks(equation, variant)(build)
