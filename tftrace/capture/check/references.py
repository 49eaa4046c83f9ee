"""Finds the tensors, numbers and words that the references of a recipe name in a call.

None of the model's code is run: only plain attributes and items are read, never a property."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple, cast

import torch

from ...recipes.format.library import Match
from ...recipes.format.recipe import Bind, Reference
from ..calls import Call
from ..measure.dequantized import dequantized
from ..measure.identity import VERSION, View
from ..measure.plain_memory import address
from ..seen.proposal import Proposal
from ..torch_internals import parameters_of, version_of
from .constructors.constructor_line import constructed
from .constructors.static_attributes import of_class, static_attribute
from .flex_mask import laid_out


class Unbound(Exception):
    """An equation cannot be checked on a step; the message says why."""


def applies(match: Match, call: Call) -> bool:
    """Whether the conditions of a bind hold for a call that has been entered. They ask of a tensor only whether it is
    there, so that what was written into it since does not matter."""
    bind = match.bind
    return all(fits_condition(_looked_up(reference, call), wanted) for reference, wanted in bind.when) and not any(
        fits_condition(_looked_up(reference, call), wanted) for reference, wanted in bind.unless
    )


def conditions_of(binds: Iterable[Bind]) -> tuple[Getter, ...]:
    """What finds the values that `applies` asks for, each once."""
    every = dict.fromkeys(reference for bind in binds for reference, _ in (*bind.when, *bind.unless))
    return tuple(partial(_looked_up, reference) for reference in every)


def values_of(conditions: Sequence[Getter], call: Call) -> tuple[Any, ...] | None:
    """All by which a call fulfils conditions or not; None if that is not told by plain values.

    Of a tensor that is whether it is there, of a container whether something is in it, and of any other object that it
    is there; none of its code is run.
    """
    found: list[Any] = []
    for get in conditions:
        value = get(call)
        kind = type(value)
        if value is None or kind in _SETTLED:
            found += kind, value
        elif isinstance(value, torch.Tensor) or not (hasattr(kind, "__bool__") or hasattr(kind, "__len__")):
            found.append(_THERE)
        elif kind in _CONTAINERS:
            found.append(len(value) > 0)
        else:
            return None
    return tuple(found)


_SETTLED, _CONTAINERS, _THERE = (bool, int, float, str), (tuple, list, dict), "there"


def fits_condition(found: Any, wanted: Any) -> bool:
    """Whether a value fulfils a condition.

    Args:
        found: The value.
        wanted: A number; a text, which may be a pattern; a list of which one fits; or true or false, which ask whether
            the value is there and neither false nor 0.
    """
    if isinstance(wanted, list):
        return any(fits_condition(found, each) for each in wanted)
    if isinstance(wanted, bool):
        return (isinstance(found, torch.Tensor) or bool(found)) is wanted
    if isinstance(wanted, str):
        return isinstance(found, str) and fnmatchcase(found, wanted)
    return isinstance(found, (bool, int, float)) and found == wanted


Getter = Callable[[Call], Any]
Asked = list[tuple[str, Reference | float, Any]]  # symbol, source, value


def resolve(match: Match, call: Call) -> tuple[dict[str, torch.Tensor], dict[str, float | str], Asked]:
    """Find what the symbols of an equation stand for.

    Returns:
        The tensors by symbol; the numbers and words by symbol (optional symbols may be missing); and all sources that
        were tried, with their values.

    Raises:
        Unbound: A symbol stands for nothing.
    """
    if match.bind.unchecked:
        raise Unbound(match.bind.unchecked)
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, float | str] = {}
    asked: Asked = []
    for name, sources, optional in _sources(match.bind):
        other = None
        for source, get in sources:
            value = get(call)
            asked.append((name, source, value))
            if isinstance(value, torch.Tensor):
                tensors[name] = dequantized(value, call.owner)
            elif isinstance(value, (bool, int, float)):
                if other is not None:  # a number that replaces something missing does not replace a block mask
                    break
                numbers[name] = float(value)
            elif isinstance(value, str):
                numbers[name] = value
            elif (mask := laid_out(value)) is not None:
                tensors[name] = mask
            else:  # `return | return:[0]`: some modules return a tensor, others a tuple
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


def tensor_of(bind: Bind, symbol: str, call: Call) -> torch.Tensor | None:
    """The tensor that a symbol stands for in a call; None if it is no tensor."""
    for _, get in next(sources for name, sources, _ in _sources(bind) if name == symbol):
        if isinstance(value := get(call), torch.Tensor):
            return value
    return None


_Sources = list[tuple[str, list[tuple[Reference | float, Getter]], bool]]
_known: dict[int, tuple[Bind, _Sources]] = {}


def _sources(bind: Bind) -> _Sources:
    """The sources of each symbol with their getters, in order; made once, since this runs for every step."""
    known = _known.get(id(bind))
    if known is None:
        found = [(n, [(s, getter(s)) for s in b.sources], b.optional) for n, b in bind.symbols.items()]
        known = _known[id(bind)] = bind, found  # keeps the bind, so that its id stays unique
    return known[1]


def proposed(bind: Bind, proposal: Proposal) -> tuple[dict[str, torch.Tensor], dict[str, float | str]]:
    """The same for a pattern that was seen."""
    if proposal.random:
        raise Unbound(proposal.random)
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, float | str] = {}
    for name, binding in bind.symbols.items():
        for source in binding.sources:
            key = str(source.path[0]) if isinstance(source, Reference) and source.path else ""
            if isinstance(source, float):
                numbers[name] = source
            elif key in proposal.tensors:
                tensors[name] = proposal.tensors[key]
            elif key in proposal.values:
                numbers[name] = proposal.values[key]
            else:
                continue
            break
        else:
            if not binding.optional:
                raise Unbound(f"{name} was not seen")
    return tensors, numbers


ARGUMENT, RESULT, ITEM, PARAMETER, ATTRIBUTE = range(5)


class Plain(NamedTuple):
    """A plain reference: an argument, the result or an item of it, a parameter or an attribute of a call.

    Attributes:
        child: The name of the call below; None for the call itself.
        number: Which of the calls of that name.
        kind: One of ARGUMENT, RESULT, ITEM, PARAMETER and ATTRIBUTE.
        key: The name of the argument or attribute, the index of the item, or the path of the parameter.
    """

    child: str | None
    number: int
    kind: int
    key: Any


def plain(source: Reference | float) -> Plain | None:
    """The plain form of a reference; None if it has none."""
    if isinstance(source, Reference) and (source.child is None or _is_name(source.child)):
        match source.kind, source.path:
            case "arg", (str(key),):
                return Plain(source.child, source.call, ARGUMENT, key)
            case "return", ():
                return Plain(source.child, source.call, RESULT, None)
            case "return", (int(key),) if key >= 0:
                return Plain(source.child, source.call, ITEM, key)
            case "param", path:
                return Plain(source.child, source.call, PARAMETER, tuple(map(str, path)))
            case "attr", (str(key),):
                return Plain(source.child, source.call, ATTRIBUTE, key)
    return None


def _is_name(child: str) -> bool:
    """Whether this is the name of a call below, rather than a pattern."""
    return child not in ("..", "<") and not any(mark in child for mark in "*?[")


@lru_cache(maxsize=4096)
def getter(source: Reference | float) -> Getter:
    """Make a function that does what `find` does for a reference, in as few steps as possible."""
    if not isinstance(source, Reference):
        return lambda call: source
    if source.child is not None:
        return partial(find, source) if source.child in ("..", "<") else _of_child(source, source.child)
    match source.kind, source.path:
        case "arg", (str(name),):
            return lambda call: _unchanged(source, call.arguments.get(name), call.given)
        case "return", ():
            return lambda call: call.result
        case "return", (key,):
            return lambda call: _unchanged(source, _item(call.result, key), call.given)
        case "param", (str(name),):

            def parameter(call: Call) -> Any:
                found = parameters_of(call.owner).get(name) if isinstance(call.owner, torch.nn.Module) else None
                return static_attribute(call.owner, name) if found is None else found

            return parameter
        case "config", (str(name), *rest):
            return lambda call: reduce(_item, rest, static_attribute(configuration(call), name))
        case "param" | "attr", (str(name), *rest):
            return lambda call: reduce(_item, rest, static_attribute(call.owner, name))
        case "init", (str(name),):
            return lambda call: constructed(call.owner, name, _item)
    return partial(find, source)


def _of_child(source: Reference, child: str) -> Getter:
    """Do what `getter` does for what a call below took or returned."""
    found, pattern = plain(replace(source, child=None)), not _is_name(child)
    if found is None or found.kind in (PARAMETER, ATTRIBUTE):
        return lambda call: find(source, call) if call.seen else None
    _, number, kind, key = found

    def of(call: Call) -> Any:
        if not call.seen:
            return None
        names = _fitting(tuple(call.seen), child) if pattern else (child,)
        if len(names) != 1:
            return find(source, call)
        calls = call.seen.get(names[0], ())
        if not -len(calls) <= number < len(calls):
            return None
        at = calls[number]
        value = at.arguments.get(key) if kind == ARGUMENT else at.result if kind == RESULT else _item(at.result, key)
        _unchanged(source, value, call.given)
        return _unchanged(source, value, at.given if kind == ARGUMENT else at.returned or {})

    return of


def find(reference: Reference, call: Call) -> Any:
    """Find what a reference names in a call; None if it is not there. Raises Unbound for a tensor that has changed."""
    at = _at(reference, call)
    if at is None:
        return None
    found = _looked_up(reference, call)
    _unchanged(reference, found, call.given)
    return _unchanged(reference, found, at.returned or {} if reference.kind == "return" else at.given)


def _looked_up(reference: Reference, call: Call) -> Any:
    """What a reference names in a call, as it is now."""
    at = _at(reference, call)
    if at is None:
        return None
    kind = reference.kind
    if kind == "arg":
        start: Any = at.arguments
    elif kind == "return":
        start = at.result
    elif kind == "local":
        start = at.values
    elif kind == "index":
        return _index(at.name)
    elif kind == "config":
        start = configuration(at)
    elif kind == "init":
        return constructed(at.owner, str(reference.path[0]), _item) if len(reference.path) == 1 else None
    else:  # param, attr
        start = at.owner
    for key in reference.path:
        start = _item(start, key)
    return start


@lru_cache(maxsize=4096)
def _index(name: str) -> int | None:
    """The last number in the path of a module."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", name)
    return int(numbers[-1]) if numbers else None


def _at(reference: Reference, call: Call) -> Call | None:
    """The call that a reference is about; None if there is none."""
    child, above = reference.child, call.parent
    if child is None:
        return call
    if child == "..":
        return None if above is None else above.module
    if child == "<":
        return call.before
    seen = call.seen or {}
    if child in seen or _is_name(child):
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
        if type(value) is dict:
            return value.get(key)
        rows = isinstance(value, torch.Tensor) and value.dim() > 0 and address(value)  # a wrapper would run code
        indexable = isinstance(value, (list, tuple)) or rows
        return value[key] if indexable and -len(value) <= key < len(value) else None
    # modules first: asking whether something is a mapping takes longer than reading an attribute
    if isinstance(value, torch.nn.Module) or not isinstance(value, (dict, Mapping)):
        return static_attribute(value, key)
    return value.get(key)


def configuration(call: Call) -> Any:
    """The configuration of the innermost module around a call that has one; None if there is none."""
    at: Call | None = call
    without: Any = None
    while at is not None:
        owner = at.owner
        if owner is not without:  # a module is also the owner of its lines
            own, kind = getattr(owner, "__dict__", {}), cast(Any, type(owner))
            if own.get("config") is not None or of_class(kind, "config") is not None:
                return static_attribute(owner, "config")
            without = owner
        at = at.parent
    return None


def has(value: Any, path: Sequence[str | int]) -> bool:
    """Whether something has what a path names, be it None."""
    for at, key in enumerate(path):
        if isinstance(value, Mapping) and not isinstance(value, torch.nn.Module):
            there = key in value
        else:
            own = getattr(value, "__dict__", {})
            names = of_class(cast(Any, type(value)), "attribute_map")
            there = (names.get(key, key) if isinstance(names, dict) else key) in own
        if not there:
            return _item(value, key) is not None and at == len(path) - 1
        value = _item(value, key)
    return True


def _unchanged(source: Reference, value: Any, noted: Mapping[int, View]) -> Any:
    """Return a value; raise Unbound if it is a tensor that was written to since its view was noted.

    A tensor made in inference mode does not tell.
    """
    if isinstance(value, torch.Tensor):
        view = noted.get(id(value))
        if view is not None and view[VERSION] != version_of(value):
            raise Unbound(f"{source.source} was changed in place before the step ended")
    return value
