"""Learns of modules that are made while a forward runs, as in `nn.Softmax(dim=-1)(scores)`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any, Protocol

import torch

from ..patches import Layer, Patch
from ..torch_internals import getframe


class Making(Protocol):
    """What is told of each module that is made."""

    def made(self, module: torch.nn.Module, frame: FrameType) -> None: ...


class MadeModules:
    """Tells one recording of the modules that are made; nothing is done when they are called.

    Args:
        told: Is told of each, as soon as torch has prepared it and before it has any parts.
    """

    def __init__(self, told: Making) -> None:
        self._told = told
        self._ends: dict[int, weakref.finalize[Any, Any]] = {}

    def attach(self) -> None:
        """Begin to watch."""
        _MADE.put(self._told)

    def detach(self) -> None:
        """Stop watching."""
        _MADE.take(self._told)

    def when_gone(self, module: torch.nn.Module, forget: Callable[[], None]) -> None:
        """Do something when a module that was made is gone: a model may make some in each forward."""
        self._ends[id(module)] = end = weakref.finalize(module, self._gone, id(module), forget)
        end.atexit = False

    def forget(self) -> None:
        """Forget all of them."""
        while self._ends:
            self._ends.popitem()[1].detach()

    def _gone(self, module: int, forget: Callable[[], None]) -> None:
        self._ends.pop(module, None)
        forget()


def _making(layer: Layer) -> Callable[..., None]:
    original = layer.original

    @wraps(original)
    def __init__(self: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if not torch.compiler.is_dynamo_compiling():
            for told in layer.watching():
                told.made(self, getframe(1))

    return __init__


_MADE = Patch(torch.nn.Module, "__init__", _making)
