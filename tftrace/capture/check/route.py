"""How an equation's cells were read on an earlier call, to be read so again.

Most calls differ from one before in nothing but the addresses of their tensors. To find that this is so takes a
fraction of finding everything anew; and as each check begins after a product of matrices, which leaves nothing of ours
in the near caches, what counts is how little code runs. The two loops that run for each tensor are therefore also there
in C (`_route.c`): two fifths of the time of all checks lay in them, and compiled they take half as long."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...recipes.evaluate.split_dimension import original_name
from ...recipes.format.recipe import Reference
from ..calls import Call
from ..measure.identity import SHAPE, VERSION
from ..measure.plain_memory import host_address
from ..measure.stats import PLAIN
from ..torch_internals import children_of, parameters_of, version_of
from .batches import Group
from .cells import Reading
from .flow import FLOW
from .references import ARGUMENT, ATTRIBUTE, PARAMETER, RESULT, Asked, Getter, Plain, getter, plain
from .strided import Form

try:
    from . import _route as compiled
except ImportError:  # installed where there is no compiler, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

_MOST_DIMS = 64  # drawn ones, and of a tensor; as in `_route.c`
_SETTLED = (type(None), bool, int, float, str)  # what is compared as a whole
_ORDERED = (tuple, list)
_GROUPS = (*_ORDERED, dict)  # of tensors: passed over for one of them

# What was found at a plain reference (the first four, see `Plain`): its class; of a tensor its form, and what compiled
# code asks of it; of a number or word nothing and itself; of a group neither.
Item = tuple[Any, Any, Any, Any, Any, Any, Any]


class Route:
    """What a call settled for those that are like it: of the same numbers, and tensors of the same shapes, strides and
    dtypes, all on the host."""

    def __init__(self, reading: Reading, numbers: Mapping[str, float | str], asked: Asked, call: Call) -> None:
        """Raises ValueError where another call might be read in another way, though it looks like this one."""
        self.reading, self.numbers = reading, numbers
        self.group: Group | None = None  # in which its cells were put last
        self._plain: list[Item] = []
        self._others: list[tuple[Getter, Any]] = []  # numbers, or types of what is no number
        self._tensors: list[tuple[Getter, Any, Any]] = []
        first, last, strides = [], [], {}
        for name, source, found in asked:
            kind, one = type(found), _plain(source, found, call)
            if kind in _SETTLED:
                self._plain.append((*one, kind, None, found)) if one else self._others.append((getter(source), found))
            elif kind in _GROUPS:
                self._plain.append((*one, kind, None, None)) if one else self._others.append((_kind(source), kind))
            elif kind in PLAIN and found.is_cpu and (form := _form(found)):
                strides[name] = form[1]
                if one:
                    first.append(name)
                    self._plain.append((*one, kind, form, _settled(found)))
                else:
                    last.append(name)
                    self._tensors.append((getter(source), kind, form))
            else:
                raise ValueError(f"{name} is {kind.__name__}")
        place = {name: at for at, name in enumerate(first + last)}
        self._passed = [(place[one], place[two]) for one, two in reading.passes.pairs(strides)]
        flows = sorted({name for name in place if name.startswith(FLOW)})
        self._flows = [(place[one], place[two]) for one, two in zip(flows[::2], flows[1::2], strict=True)]
        self.forms: list[Form] = []  # of each column how it is read,
        self._reads: list[int] = []  # and the number of the tensor
        for statement in reading.statements:
            for _, name, strided in statement.reads:
                if strided is None:
                    raise ValueError(f"{name} is not read as it is")
                name = original_name(name)
                self.forms.append(strided.form(strides[name]))
                self._reads.append(place[name])
        self._layout = _layout(reading.rooms, self.forms, self._reads)

    def addresses(self, call: Call) -> list[int] | None:
        """Where the tensors of a call begin, if it is like the one that settled this."""
        for get, wanted in self._others:
            found = get(call)
            if found is not wanted and (type(found) is not type(wanted) or found != wanted):
                return None
        addresses = (compiled.addresses if compiled else _addresses)(self._plain, call)
        if addresses is None:
            return None
        for get, kind, form in self._tensors:
            tensor = get(call)
            if type(tensor) is not kind or not tensor.is_cpu or _form(tensor) != form:
                return None
            addresses.append(host_address(tensor))
        return None if 0 in addresses else addresses

    def passes(self, addresses: Sequence[int]) -> bool:
        """Whether all that the equation passes on is the same (see `Passed`)."""
        return bool(self._passed) and all(addresses[one] == addresses[two] for one, two in self._passed)

    def flows(self, addresses: Sequence[int]) -> bool:
        """Whether the tensors are the same of which the bind says so."""
        return bool(self._flows) and all(addresses[one] == addresses[two] for one, two in self._flows)

    def copy(self, addresses: list[int], seed: int, group: Group, row: int) -> None:
        """Copy the drawn cells into a row of this group."""
        if compiled:
            return compiled.copy(self._layout, addresses, seed, group.bases, row)
        starts = self.reading.starts(seed)
        for column, form, at in zip(group.columns, self.forms, self._reads, strict=True):
            column[row] = form.at(addresses[at], starts)


def _layout(rooms: Sequence[int], forms: Sequence[Form], reads: Sequence[int]) -> bytes:
    """What is copied, as the compiled `copy` reads it: the rooms of what is drawn, and of each column the number of the
    tensor and what its form says; before each part how long it is. Raises ValueError where it has no room for them."""
    if max(len(rooms), *(len(form.shape) for form in forms)) > _MOST_DIMS:
        raise ValueError("there are too many dimensions")
    found = [len(rooms), *rooms, len(forms)]
    for form, tensor in zip(forms, reads, strict=True):
        found += tensor, *form.numbers
    return struct.pack(f"{len(found)}q", *found)


def _addresses(items: Sequence[Item], call: Call) -> list[int] | None:
    """Where the tensors among these items begin in a call, if all of them are there what they were."""
    addresses = []
    for child, number, what, key, kind, form, value in items:
        at = _at(call, child, number)
        found: Any = None if at is None else _found(at, what, key)
        if type(found) is not kind:
            return None
        if form is None:
            if value is not None and found is not value and found != value:
                return None
        elif found.is_cpu and _like(found, form, what, call, at):
            addresses.append(host_address(found))
        else:
            return None
    return addresses


def _at(call: Call, child: str | None, number: int) -> Call | None:
    """The call that a plain reference is about."""
    if child is None:
        return call
    calls = call.seen.get(child, ()) if call.seen else ()
    return calls[number] if -len(calls) <= number < len(calls) else None


def _found(at: Call, what: int, key: Any) -> Any:
    """What is there now."""
    if what == RESULT:
        return at.result
    if what == ARGUMENT:
        return at.arguments.get(key)
    if what == PARAMETER:
        return _parameter(at.owner, key)
    if what == ATTRIBUTE:
        return getattr(at.owner, "__dict__", {}).get(key)
    return at.result[key] if type(at.result) in _ORDERED and len(at.result) > key else None


def _like(tensor: torch.Tensor, form: tuple[Any, ...], what: int, call: Call, at: Any) -> bool:
    """Whether a tensor is of this form, and was not written to before the call ended."""
    noted = at.given if what == ARGUMENT else None if what == PARAMETER else at.returned
    view = noted.get(id(tensor)) if noted else None
    if view is None:  # a parameter, an inference tensor, or a copy
        return _form(tensor) == form
    if view[SHAPE:] != form:
        return False
    if what == RESULT and at is call:
        return True
    version = version_of(tensor)
    return bool(version == view[VERSION] == call.given.get(id(tensor), view)[VERSION])


def _plain(source: Reference | float, found: Any, call: Call) -> Plain | None:
    """The plain reference, if it is one and what it names is there where it would be looked for."""
    one = plain(source)
    if one is None or (found is None and one.kind in (PARAMETER, ATTRIBUTE)):  # which may be elsewhere next time
        return None
    at = _at(call, one.child, one.number)
    return one if (None if at is None else _found(at, one.kind, one.key)) is found else None


def _parameter(owner: Any, path: tuple[str, ...]) -> Any:
    """A parameter of a module, or of one below it."""
    *modules, name = path
    for below in modules:
        owner = children_of(owner).get(below) if isinstance(owner, torch.nn.Module) else None
    return parameters_of(owner).get(name) if isinstance(owner, torch.nn.Module) else None


def _settled(tensor: torch.Tensor) -> bytes | None:
    try:
        return compiled.settle(tensor) if compiled else None
    except RuntimeError as error:  # it has no memory of its own, or more of them
        raise ValueError(str(error)) from error


def _kind(source: Reference | float) -> Getter:
    get = getter(source)
    return lambda call: type(get(call))


def _form(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Shape, strides, dtype and a pending sign, as in a view (see `identity`)."""
    if tensor.layout is not torch.strided:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg()
