"""How an equation's cells were read on an earlier call, to be read so again.

Most calls differ from one before in nothing but the addresses of their tensors. To find that this is so takes a
fraction of finding everything anew; and as each check begins after a product of matrices, which leaves nothing of ours
in the near caches, what counts is how little code runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .calls import Call
from .cells import Reading
from .identity import SHAPE
from .references import Getter
from .strided import Form

_OWN = (torch.Tensor, torch.nn.Parameter)  # classes that run no code of others when they are asked something
_SETTLED = (type(None), bool, int, float, str)  # what is compared as a whole


class Route:
    """What a call settled for those that are like it: of the same numbers, and tensors of the same shapes, strides and
    dtypes, all on the host."""

    def __init__(
        self, reading: Reading, numbers: Mapping[str, float | str], asked: Sequence[tuple[str, Getter, Any]]
    ) -> None:
        """`asked`: what was asked for each symbol, and what was found. Raises ValueError where another call might be
        read in another way, though it looks like this one."""
        self.reading, self.numbers = reading, numbers
        self._others: list[tuple[Getter, Any]] = []
        self._tensors: list[tuple[Getter, Any, Any]] = []
        strides: dict[str, tuple[int, ...]] = {}
        for name, getter, found in asked:
            if type(found) in _SETTLED:
                self._others.append((getter, found))
            elif type(found) in _OWN and found.is_cpu and (form := _form(found)):
                strides[name] = form[1]
                self._tensors.append((getter, type(found), form))
            else:
                raise ValueError(f"{name} is {type(found).__name__}")
        place = {name: at for at, name in enumerate(strides)}
        self._passed = [(place[one], place[two]) for one, two in reading.passes.pairs(strides)]
        self.forms: list[Form] = []  # of each column how it is read,
        self._reads: list[tuple[int, int]] = []  # and the numbers of the statement and of the tensor
        for number, statement in enumerate(reading.statements):
            for _, name, strided in statement.reads:
                if strided is None:
                    raise ValueError(f"{name} is not read as it is")
                self.forms.append(strided.form(strides[name]))
                self._reads.append((number, place[name]))

    def addresses(self, call: Call) -> list[int] | None:
        """Where the tensors of a call begin, if it is like the one that settled this."""
        for getter, wanted in self._others:
            found = getter(call)
            if found is not wanted and (type(found) is not type(wanted) or found != wanted):
                return None
        addresses, returned = [], call.returned or {}
        for getter, kind, form in self._tensors:
            tensor = getter(call)
            if type(tensor) is not kind or not tensor.is_cpu:
                return None
            view = returned.get(id(tensor))  # noted a moment ago
            if (_form(tensor) if view is None else view[SHAPE:]) != form:
                return None
            addresses.append(tensor.data_ptr())
        return None if 0 in addresses else addresses

    def passes(self, addresses: Sequence[int]) -> bool:
        """Whether all that the equation passes on is the same (see `Passed`)."""
        return bool(self._passed) and all(addresses[one] == addresses[two] for one, two in self._passed)

    def copy(self, addresses: Sequence[int], seed: int, columns: Sequence[Any], row: int) -> None:
        """Copy the drawn cells into a row of these columns."""
        starts = self.reading.starts(seed)
        for column, form, (statement, at) in zip(columns, self.forms, self._reads, strict=True):
            column[row] = form.at(addresses[at], starts[statement])


def _form(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Shape, strides, dtype and a pending sign, as in a view (see `identity`)."""
    if tensor.layout is not torch.strided:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg()
