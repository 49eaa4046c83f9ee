"""How an equation's cells were read on an earlier call, to be read so again.

Most calls differ from one before in nothing but the addresses of their tensors. To find that this is so takes a
fraction of finding everything anew; and as each check begins after a product of matrices, which leaves nothing of ours
in the near caches, what counts is how little code runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..recipes.doubled import original
from ..recipes.recipe import Reference
from .calls import Call
from .cells import Reading
from .identity import SHAPE, VERSION
from .references import ARGUMENT, PARAMETER, RESULT, Asked, Getter, getter, plain
from .strided import Form
from .waiting import Group

_OWN = (torch.Tensor, torch.nn.Parameter)  # classes that run no code of others when they are asked something
_SETTLED = (type(None), bool, int, float, str)  # what is compared as a whole
_ORDERED = (tuple, list)
_GROUPS = (*_ORDERED, dict)  # of tensors: passed over for one of them


class Route:
    """What a call settled for those that are like it: of the same numbers, and tensors of the same shapes, strides and
    dtypes, all on the host."""

    def __init__(self, reading: Reading, numbers: Mapping[str, float | str], asked: Asked) -> None:
        """Raises ValueError where another call might be read in another way, though it looks like this one."""
        self.reading, self.numbers = reading, numbers
        self.group: Group | None = None  # in which its cells were put last
        self._others: list[tuple[Getter, Any]] = []  # what else was found: a number, or a type that is no number
        self._plain: list[tuple[Any, ...]] = []
        self._tensors: list[tuple[Getter, Any, Any]] = []
        first, last, strides = [], [], {}
        for name, source, found in asked:
            if type(found) in _SETTLED:
                self._others.append((getter(source), found))
            elif type(found) in _GROUPS:
                self._others.append((_kind(source), type(found)))
            elif type(found) in _OWN and found.is_cpu and (form := _form(found)):
                strides[name] = form[1]
                if one := plain(source):
                    first.append(name)
                    self._plain.append((*one, type(found), form))
                else:
                    last.append(name)
                    self._tensors.append((getter(source), type(found), form))
            else:
                raise ValueError(f"{name} is {type(found).__name__}")
        place = {name: at for at, name in enumerate(first + last)}
        self._passed = [(place[one], place[two]) for one, two in reading.passes.pairs(strides)]
        self.forms: list[Form] = []  # of each column how it is read,
        self._reads: list[int] = []  # and the number of the tensor
        for statement in reading.statements:
            for _, name, strided in statement.reads:
                if strided is None:
                    raise ValueError(f"{name} is not read as it is")
                name = original(name)
                self.forms.append(strided.form(strides[name]))
                self._reads.append(place[name])

    def addresses(self, call: Call) -> list[int] | None:
        """Where the tensors of a call begin, if it is like the one that settled this."""
        for get, wanted in self._others:
            found = get(call)
            if found is not wanted and (type(found) is not type(wanted) or found != wanted):
                return None
        addresses, given = [], call.given
        for child, number, what, key, kind, form in self._plain:  # what `getter` does, without a call for each
            at = call
            if child is not None:
                try:
                    at = call.seen[child][number]  # type: ignore[index]
                except (TypeError, KeyError, IndexError):
                    return None
            noted = None if what == PARAMETER else at.given if what == ARGUMENT else at.returned
            tensor: Any
            if what == RESULT:
                tensor = at.result
            elif what == ARGUMENT:
                tensor = at.arguments.get(key)
            elif what == PARAMETER:
                tensor = _parameter(at.owner, key)
            else:
                tensor = at.result[key] if type(at.result) in _ORDERED and len(at.result) > key else None
            if type(tensor) is not kind or not tensor.is_cpu:
                return None
            view = noted.get(id(tensor)) if noted else None
            if view is None:  # a parameter, an inference tensor, or a copy
                if _form(tensor) != form:
                    return None
            elif view[SHAPE:] != form:
                return None
            elif what != RESULT or child is not None:
                version = tensor._version
                if version != view[VERSION] or version != given.get(id(tensor), view)[VERSION]:
                    return None
            addresses.append(tensor.data_ptr())
        for get, kind, form in self._tensors:
            tensor = get(call)
            if type(tensor) is not kind or not tensor.is_cpu or _form(tensor) != form:
                return None
            addresses.append(tensor.data_ptr())
        return None if 0 in addresses else addresses

    def passes(self, addresses: Sequence[int]) -> bool:
        """Whether all that the equation passes on is the same (see `Passed`)."""
        return bool(self._passed) and all(addresses[one] == addresses[two] for one, two in self._passed)

    def copy(self, addresses: Sequence[int], seed: int, columns: Sequence[Any], row: int) -> None:
        """Copy the drawn cells into a row of these columns."""
        starts = self.reading.starts(seed)
        for column, form, at in zip(columns, self.forms, self._reads, strict=True):
            column[row] = form.at(addresses[at], starts)


def _parameter(owner: Any, path: tuple[str, ...]) -> Any:
    """A parameter of a module, or of one below it."""
    *modules, name = path
    for below in modules:
        owner = owner._modules.get(below) if isinstance(owner, torch.nn.Module) else None
    return owner._parameters.get(name) if isinstance(owner, torch.nn.Module) else None


def _kind(source: Reference | float) -> Getter:
    get = getter(source)
    return lambda call: type(get(call))


def _form(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Shape, strides, dtype and a pending sign, as in a view (see `identity`)."""
    if tensor.layout is not torch.strided:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg()
