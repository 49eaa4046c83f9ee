"""From a recipe's reference to the tensor or number it names in a call that runs.

Nothing of the model's is executed on the way: only plain attributes and items are read, never a property."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache, partial, reduce
from typing import Any

import torch

from ..recipes.library import Match
from ..recipes.recipe import Bind, Reference
from .calls import Call
from .flex import laid_out
from .identity import VERSION, View


class Unbound(Exception):
    """The equation cannot be checked on this step; the message says why."""


def applies(match: Match, call: Call) -> bool:
    """Whether the conditions of a recipe hold for a call that has been entered."""
    bind = match.bind
    return all(_is(find(reference, call), wanted) for reference, wanted in bind.when) and not any(
        _is(find(reference, call), wanted) for reference, wanted in bind.unless
    )


def _is(found: Any, wanted: Any) -> bool:
    """Whether a value is what a condition asks for: one of a list, a pattern of a text, or with true and false
    whether it is there and is neither false nor 0."""
    if isinstance(wanted, list):
        return any(_is(found, each) for each in wanted)
    if isinstance(wanted, bool):
        return (isinstance(found, torch.Tensor) or bool(found)) is wanted
    if isinstance(wanted, str):
        return isinstance(found, str) and fnmatchcase(found, wanted)
    return isinstance(found, (bool, int, float)) and found == wanted


Getter = Callable[[Call], Any]


def resolve(
    match: Match, call: Call
) -> tuple[dict[str, torch.Tensor], dict[str, float | str], list[tuple[str, Getter, Any]]]:
    """The tensors, and the numbers and words, that an equation's symbols stand for; optional ones may be absent. Also
    all that was asked for them: symbol, how, and what was found."""
    if match.bind.unchecked:
        raise Unbound(match.bind.unchecked)
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, float | str] = {}
    asked: list[tuple[str, Getter, Any]] = []
    for name, getters, optional in _getters(match.bind):
        other = None
        for get in getters:
            value = get(call)
            asked.append((name, get, value))
            if isinstance(value, torch.Tensor):
                tensors[name] = value
            elif isinstance(value, (bool, int, float)):
                if other is not None:  # a number that stands for what is missing does not stand for a block mask
                    break
                numbers[name] = float(value)
            elif isinstance(value, str):
                numbers[name] = value
            elif (mask := laid_out(value)) is not None:
                tensors[name] = mask
            else:  # `return | return:[0]`: some return a tensor, some a tuple with it
                other = value if other is None else other
                continue
            other = None
            break
        if name not in tensors and name not in numbers:
            if other is not None:
                raise Unbound(f"{name} is a {type(other).__name__}, neither tensor nor number")
            if not optional:
                wanted = " | ".join(s.source for s in match.bind.symbols[name].sources if isinstance(s, Reference))
                raise Unbound(f"{name} was not there ({wanted})")
    return tensors, numbers, asked


_known: dict[int, tuple[Bind, list[tuple[str, list[Getter], bool]]]] = {}


def _getters(bind: Bind) -> list[tuple[str, list[Getter], bool]]:
    """For each symbol how its sources are read, in order; settled once, as this runs for every step."""
    known = _known.get(id(bind))
    if known is None:
        found = [(n, [getter(s) for s in b.sources], b.optional) for n, b in bind.symbols.items()]
        known = _known[id(bind)] = bind, found  # the bind is kept, so that its id stays its own
    return known[1]


@lru_cache(maxsize=4096)
def getter(source: Reference | float) -> Getter:
    """How what a reference names is had from a call: `find`, in as few steps as it takes."""
    if not isinstance(source, Reference):
        return lambda call: source
    if source.child is None and source.kind == "arg" and len(source.path) == 1:
        name = source.path[0]

        def argument(call: Call) -> Any:
            return _unchanged(source, call.arguments.get(name), call.given)  # type: ignore[arg-type]

        return argument
    if source.child is None and source.kind == "return" and not source.path:
        return lambda call: call.result
    if source.child is None and source.kind == "return" and len(source.path) == 1:
        place = source.path[0]

        return lambda call: _unchanged(source, _item(call.result, place), call.given)
    if source.child not in (None, "..", "<") and not any(mark in source.child for mark in "*?["):
        return _of_child(source, source.child)
    if source.child is None and source.kind in ("param", "attr"):
        first, *rest = source.path
        attribute = str(first)
        if not rest and source.kind == "param":

            def parameter(call: Call) -> Any:
                found = call.owner._parameters.get(attribute) if isinstance(call.owner, torch.nn.Module) else None
                return _static(call.owner, attribute) if found is None else found

            return parameter
        if not rest:
            return lambda call: _static(call.owner, attribute)
        return lambda call: reduce(_item, rest, _static(call.owner, attribute))
    return partial(find, source)


def _of_child(source: Reference, child: str) -> Getter:
    """`find` of what a call below of this very name took or returned, without looking at what else is there."""
    first, number = source.path[0] if len(source.path) == 1 else None, source.call
    key = first if isinstance(first, str) and source.kind == "arg" else None
    plain = key is not None or (source.kind == "return" and not source.path)

    def of(call: Call) -> Any:
        calls = call.seen.get(child) if call.seen is not None else None
        if not calls or not plain:
            return find(source, call) if calls else None
        if not -len(calls) <= number < len(calls):
            return None
        at = calls[number]
        value = at.result if key is None else at.arguments.get(key)
        _unchanged(source, value, call.given)
        return _unchanged(source, value, at.returned or {} if key is None else at.given)

    return of


def find(reference: Reference, call: Call) -> Any:
    """What a reference names, or None."""
    at = _at(reference, call)
    if at is None:
        return None
    kind, noted = reference.kind, at.returned or {} if reference.kind == "return" else at.given
    if kind == "arg":
        start: Any = at.arguments
    elif kind == "return":
        start = at.result
    elif kind == "local":
        start = at.values
    elif kind == "index":
        return _index(at.name)
    elif kind == "config":
        without: Any = None
        while at is not None and (at.owner is without or not _has_config(at.owner)):
            without, at = at.owner, at.parent  # the lines of a module have it as their owner, too
        start = None if at is None else _static(at.owner, "config")
    else:  # param, attr
        start = at.owner
    for key in reference.path:
        start = _item(start, key)
    _unchanged(reference, start, call.given)
    return _unchanged(reference, start, noted)


@lru_cache(maxsize=4096)
def _index(name: str) -> int | None:
    """The last number in a module's path."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", name)
    return int(numbers[-1]) if numbers else None


def _at(reference: Reference, call: Call) -> Call | None:
    """The call that a reference is about."""
    child, above = reference.child, call.parent
    if child is None:
        return call
    if child == "..":
        return None if above is None else above.module
    if child == "<":
        return call.before
    seen = call.seen or {}
    if child in seen or not any(mark in child for mark in "*?["):
        found = seen.get(child, [])
    else:
        names = _fitting(tuple(seen), child)
        found = seen[names[0]] if len(names) == 1 else [c for name in names for c in seen[name]]
        if len(found) > 1:
            found = sorted(found, key=lambda c: c.step)
    return found[reference.call] if -len(found) <= reference.call < len(found) else None


@lru_cache(maxsize=4096)
def _fitting(names: tuple[str, ...], pattern: str) -> tuple[str, ...]:
    return tuple(name for name in names if fnmatchcase(name, pattern))


def _item(value: Any, key: str | int) -> Any:
    if isinstance(key, int):
        indexable = isinstance(value, (list, tuple)) or (isinstance(value, torch.Tensor) and value.dim() > 0)
        return value[key] if indexable and -len(value) <= key < len(value) else None
    # a module first: to ask whether something is a mapping takes longer than to look an attribute up
    if isinstance(value, torch.nn.Module) or not isinstance(value, (dict, Mapping)):
        return _static(value, key)
    return value.get(key)


def _static(value: Any, name: str) -> Any:
    """An attribute without running any code of the model's: no property, no __getattr__."""
    if value is None:
        return None
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    kind: Any = type(value)
    if name not in own:
        if isinstance(value, torch.nn.Module):
            for store in (value._parameters, value._buffers, value._modules):
                if name in store:
                    return store[name]
        other = _of_class(kind, "attribute_map")  # a configuration may have another name for it
        name = other.get(name, name) if isinstance(other, dict) else name
    if name in own:
        found = own[name]
        return None if hasattr(type(found), "__get__") else found
    return _of_class(kind, name)


def _has_config(owner: Any) -> bool:
    kind: Any = type(owner)
    return getattr(owner, "__dict__", {}).get("config") is not None or _of_class(kind, "config") is not None


@lru_cache(maxsize=4096)
def _of_class(kind: type, name: str) -> Any:
    found = inspect.getattr_static(kind, name, None)
    return None if hasattr(type(found), "__get__") else found


def _unchanged(source: Reference, value: Any, noted: Mapping[int, View]) -> Any:
    """The value, if it is no tensor that was written to since its view was noted; an inference tensor does not tell."""
    if isinstance(value, torch.Tensor):
        view = noted.get(id(value))
        if view is not None and view[VERSION] != value._version:
            raise Unbound(f"{source.source} was changed in place before the step ended")
    return value
