"""What the recipes say of a module or function, looked up once: its equations, and the calls that they ask for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch

from ..recipes.library import Level, Match

_MOST_NAMES = 1 << 16  # remembered of a module
_MOST_COPIED = 1 << 22  # elements

Asking = tuple[tuple[Match, ...], frozenset[str]]  # equations, and the calls below that they ask for


class Known:
    """The equations of a module, or of a function in modules of a class."""

    def __init__(
        self,
        owner: torch.nn.Module | None,
        levels: tuple[Level, ...],
        asked: Callable[[tuple[Match, ...]], frozenset[str]],
    ) -> None:
        self.owner: Callable[[], Any] = (lambda: None) if owner is None else weakref.ref(owner)
        self.levels = levels
        self.overwrites = owner is not None and owner.__dict__.get("inplace") is True  # what it is given
        self.chained = any(m.chained for level in levels for m in level)
        self.routes: dict[int, Any] = {}  # by equation, how its cells were read last
        self.always: Asking | None = None  # whatever the call
        if not levels:
            self.always = (), frozenset()
        elif not any(m.conditional for m in levels[0]):
            self.always = levels[0], asked(levels[0])


class Wanted(dict[str, "str | None"]):
    """The names of calls relative to a module, if they are asked for there."""

    def __init__(self, patterns: frozenset[str], scope: str) -> None:
        super().__init__()
        self._patterns, self._scope = patterns, scope

    def __missing__(self, name: str) -> str | None:
        relative = name[len(self._scope) :].lstrip(".")
        found = relative if any(fnmatchcase(relative, pattern) for pattern in self._patterns) else None
        if len(self) >= _MOST_NAMES:
            self.clear()
        self[name] = found
        return found


def copies(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are about to be overwritten, as they are now; what is too large to be copied stays what it is."""
    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) and value.numel() <= _MOST_COPIED else value
        for name, value in arguments.items()
    }
