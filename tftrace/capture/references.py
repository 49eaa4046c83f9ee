"""From a recipe's reference to the tensor or number it names in a call that runs.

Nothing of the model's is executed on the way: only plain attributes and items are read, never a property."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Any

import torch

from ..recipes.recipe import Bind, Match, Reference
from .calls import Call


class Unbound(Exception):
    """The equation cannot be checked on this step; the message says why."""


def applies(match: Match, call: Call) -> bool:
    """Whether the conditions of a recipe hold for a call that has been entered."""
    return all(find(reference, call) == value for reference, value in match.bind.when)


Getter = Callable[[Call], Any]


def resolve(match: Match, call: Call) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The tensors and the numbers that an equation's symbols stand for; optional ones may be absent."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, float] = {}
    for name, getters, optional in _getters(match.bind):
        for getter in getters:
            value = getter(call)
            if value is not None:
                if isinstance(value, torch.Tensor):
                    tensors[name] = value
                elif isinstance(value, (bool, int, float)):
                    numbers[name] = float(value)
                else:
                    raise Unbound(f"{name} is a {type(value).__name__}, neither tensor nor number")
                break
        else:
            if not optional:
                wanted = " | ".join(s.source for s in match.bind.symbols[name].sources if isinstance(s, Reference))
                raise Unbound(f"{name} was not there ({wanted})")
    return tensors, numbers


_known: dict[int, tuple[Bind, list[tuple[str, list[Getter], bool]]]] = {}


def _getters(bind: Bind) -> list[tuple[str, list[Getter], bool]]:
    """For each symbol how its sources are read, in order; settled once, as this runs for every step."""
    known = _known.get(id(bind))
    if known is None:
        found = [(n, [_getter(s) for s in b.sources], b.optional) for n, b in bind.symbols.items()]
        known = _known[id(bind)] = bind, found  # the bind is kept, so that its id stays its own
    return known[1]


def _getter(source: Reference | float) -> Getter:
    if not isinstance(source, Reference):
        return lambda call: source
    if source.child is None and source.kind == "arg" and len(source.path) == 1:
        name = source.path[0]

        def argument(call: Call) -> Any:
            value = call.arguments.get(name)  # type: ignore[arg-type]
            if isinstance(value, torch.Tensor) and _changed(value, call):
                raise Unbound(f"{source.source} was changed in place before the step ended")
            return value

        return argument
    if source.child is None and source.kind == "return" and not source.path:
        return lambda call: call.result
    if source.child is None and source.kind in ("param", "attr") and len(source.path) == 1:
        attribute = str(source.path[0])
        return lambda call: _static(call.owner, attribute)
    return partial(find, source)


def find(reference: Reference, call: Call) -> Any:
    """What a reference names, or None."""
    at: Call | None = call
    if reference.child is not None:
        at = _child(call.seen or {}, reference.child)
        if at is None:
            return None
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


def _child(seen: dict[str, Call], pattern: str) -> Call | None:
    """The last call below that has this name."""
    if pattern in seen or not any(mark in pattern for mark in "*?["):
        return seen.get(pattern)
    return next((call for name, call in reversed(seen.items()) if fnmatchcase(name, pattern)), None)


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
    kind: Any = type(value)
    return _of_class(kind, name)


@lru_cache(maxsize=4096)
def _of_class(kind: type, name: str) -> Any:
    found = inspect.getattr_static(kind, name, None)
    return None if hasattr(type(found), "__get__") else found


def _changed(tensor: torch.Tensor, call: Call) -> bool:
    """Whether a tensor was written to since it was noted; an inference tensor does not tell."""
    noted = call.versions.get(id(tensor))
    return noted is not None and noted != tensor._version
