"""From a recipe's reference to the tensor or number it names in a call that runs.

Nothing of the model's is executed on the way: only plain attributes and items are read, never a property."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import torch

from ..recipes.recipe import Binding, Match, Reference
from .calls import Call


class Unbound(Exception):
    """The equation cannot be checked on this step; the message says why."""


def applies(match: Match, call: Call) -> bool:
    """Whether the conditions of a recipe hold for a call that has been entered."""
    return all(find(reference, call) == value for reference, value in match.bind.when)


def resolve(name: str, binding: Binding, call: Call) -> Any:
    """A symbol's tensor or number; None where it is optional and absent."""
    for source in binding.sources:
        value = source if source.__class__ is float else find(source, call)  # type: ignore[arg-type]
        if value is not None:
            if not isinstance(value, (torch.Tensor, bool, int, float)):
                raise Unbound(f"{name} is a {type(value).__name__}, neither tensor nor number")
            return value
    if binding.optional:
        return None
    wanted = " | ".join(s.source for s in binding.sources if isinstance(s, Reference))
    raise Unbound(f"{name} was not there ({wanted})")


def find(reference: Reference, call: Call) -> Any:
    """What a reference names, or None."""
    at: Call | None = call
    if reference.child is not None:
        found = [c for name, c in (call.seen or {}).items() if fnmatchcase(name, reference.child)]
        if not found:
            return None
        at = found[-1]
    assert at is not None
    kind = reference.kind
    if kind == "arg":
        start: Any = at.arguments
    elif kind == "return":
        start = at.result
    elif kind == "local":
        start = at.values
    elif kind == "config":
        while at is not None and _static(at.owner, "config") is None:
            at = at.parent
        start = None if at is None else _static(at.owner, "config")
    else:  # param, attr
        start = at.owner
    for key in reference.path:
        start = _item(start, key)
    if isinstance(start, torch.Tensor) and (_changed(start, call) or (at is not None and _changed(start, at))):
        raise Unbound(f"{reference.source} was changed in place before the step ended")
    return start


def _item(value: Any, key: str | int) -> Any:
    if isinstance(key, int):
        indexable = isinstance(value, (list, tuple)) or (isinstance(value, torch.Tensor) and value.dim() > 0)
        return value[key] if indexable and key < len(value) else None
    if isinstance(value, (dict, Mapping)):
        return value.get(key)
    return _static(value, key)


def _static(value: Any, name: str) -> Any:
    """An attribute without running any code of the model's: no property, no __getattr__."""
    if value is None:
        return None
    if isinstance(value, torch.nn.Module):
        for store in (value._parameters, value._buffers, value._modules):
            if name in store:
                return store[name]
    own = getattr(value, "__dict__", {})
    if name in own:
        found = own[name]
        return None if hasattr(type(found), "__get__") else found
    return _of_class(type(value), name)


@lru_cache(maxsize=4096)
def _of_class(kind: type, name: str) -> Any:
    found = inspect.getattr_static(kind, name, None)
    return None if hasattr(type(found), "__get__") else found


def _changed(tensor: torch.Tensor, call: Call) -> bool:
    """Whether a tensor was written to since it was noted; an inference tensor does not tell."""
    noted = call.versions.get(id(tensor))
    return noted is not None and noted != tensor._version
