"""Routes: how the cells of an equation were read on an earlier call, so that they can be read in the same way again.

Most calls differ from an earlier one only in the addresses of their tensors. Finding that out takes a fraction of the
time of resolving everything anew. Each check begins after a matrix product, which leaves nothing of ours in the near
caches, so the amount of code counts. The two loops that run for each tensor are therefore also written in C
(`_route.c`): two fifths of the time of all checks was spent in them, and compiled they take half as long."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
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
from .strided import Form, Positions, RowsForm

try:
    from . import _route as compiled
except ImportError:  # installed where there is no compiler, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

_SIGN = 3  # of a form: whether the numbers in memory have the other sign
_MOST_DIMS = 64  # drawn dimensions, and dimensions of a tensor; as in `_route.c`
_SETTLED = (type(None), bool, int, float, str)  # types of values that are compared as a whole
_ORDERED = (tuple, list)
_GROUPS = (*_ORDERED, dict)  # containers of tensors, of which another source takes one

# A plain reference (the first four entries, see `Plain`) and the class of what it found; then, for a tensor, its form
# and what compiled code needs to know; for a number or word, None and the value; for a container, None twice.
Item = tuple[Any, Any, Any, Any, Any, Any, Any]


class Route:
    """What holds for all calls like one: with the same numbers, and tensors of the same form on the host.

    Args:
        reading: How the cells are read.
        numbers: The numbers and words of the equation.
        asked: All sources that were tried, with what was found.
        call: The call.
        tensors: The tensors that the symbols stand for.

    Attributes:
        group: The group that last took its cells.
        forms: How each column is read.
        plan: What compiled code does along it, once it has been followed; see `quick_checks`.
        draws: Whether some column is no plain tensor, so that the reading itself draws its cells.

    Raises:
        ValueError: Another call might have to be read differently, although it looks like this one.
    """

    def __init__(
        self,
        reading: Reading,
        numbers: Mapping[str, float | str],
        asked: Asked,
        call: Call,
        tensors: Mapping[str, torch.Tensor],
    ) -> None:
        self.reading, self.numbers = reading, numbers
        self.group: Group | None = None
        self.plan: Any = None
        self._plain: list[Item] = []
        self._others: list[tuple[Getter, Any]] = []  # numbers, or the types of other values
        self._tensors: list[tuple[Getter, Any, Any, bytes | None]] = []
        first, last, strides = [], [], {}
        for name, source, found in asked:
            kind, one = type(found), _plain(source, found, call)
            if kind in _SETTLED:
                self._plain.append((*one, kind, None, found)) if one else self._others.append((getter(source), found))
            elif kind in _GROUPS:
                self._plain.append((*one, kind, None, None)) if one else self._others.append((_kind(source), kind))
            elif kind in PLAIN and found.is_cpu and (form := _form(found)) and not form[_SIGN]:
                strides[name] = form[1]
                if one:
                    first.append(name)
                    self._plain.append((*one, kind, form, _settled(found)))
                else:
                    last.append(name)
                    self._tensors.append((getter(source), kind, form, _settled(found)))
            else:
                raise ValueError(f"{name} is {kind.__name__}")
        place = {name: at for at, name in enumerate(first + last)}
        self._passed = [(place[one], place[two]) for one, two in reading.passes.pairs(strides)]
        flows = sorted({name for name in place if name.startswith(FLOW)})
        self._flows = [(place[one], place[two]) for one, two in zip(flows[::2], flows[1::2], strict=True)]
        self.draws = any(strided is None for statement in reading.statements for _, _, strided in statement.reads)
        self._getters = _getters(asked, tensors) if self.draws else {}
        self.forms: list[Form | Positions | RowsForm] = []
        self._reads: list[tuple[int, ...]] = []  # for each column, the indices of its tensors
        for statement in reading.statements:
            for _, names, strided in () if self.draws else statement.reads:
                assert strided is not None
                own = [original_name(name) for name in names]
                self.forms.append(strided.form(*[strides[name] for name in own]))
                self._reads.append(tuple(place[name] for name in own))
        self._layout = _layout(reading.rooms, self.forms, self._reads)

    def addresses(self, call: Call) -> list[int] | None:
        """The addresses of the tensors of a call; None if it is not like the call that made this route."""
        for get, wanted in self._others:
            found = get(call)
            if found is not wanted and (type(found) is not type(wanted) or found != wanted):
                return None
        addresses = (compiled.addresses if compiled else _addresses)(self._plain, call)
        if addresses is None:
            return None
        for get, kind, form, _ in self._tensors:
            tensor = get(call)
            if type(tensor) is not kind or not tensor.is_cpu or _form(tensor) != form:
                return None
            addresses.append(host_address(tensor))
        return None if 0 in addresses else addresses

    def parts(self) -> dict[str, Any]:
        """What compiled code works with in our place; see `quick_checks`."""
        return {
            "items": self._plain,
            "others": self._others,
            "tensors": [(get, kind, settled) for get, kind, _, settled in self._tensors],
            "passed": _packed(self._passed),
            "flows": _packed(self._flows),
            "layout": self._layout,
            "forms": self.forms,
            "reading": self.reading,
            "numbers": self.numbers or None,
        }

    def tensors(self, call: Call) -> dict[str, torch.Tensor]:
        """The tensors that the symbols stand for on a call that is like the one that made this route."""
        return {name: get(call) for name, get in self._getters.items()}

    def passes(self, addresses: Sequence[int]) -> bool:
        """Whether all tensors that the equation passes on are the same; see `Passed`."""
        return bool(self._passed) and all(addresses[one] == addresses[two] for one, two in self._passed)

    def flows(self, addresses: Sequence[int]) -> bool:
        """Whether tensors flow as the bind says."""
        return bool(self._flows) and all(addresses[one] == addresses[two] for one, two in self._flows)

    def copy(self, addresses: list[int], seed: int, group: Group, row: int) -> None:
        """Copy the drawn cells into a row of a group; `seed` decides which are drawn."""
        if compiled and compiled.copy(self._layout, addresses, seed, group.bases, row):
            return
        starts = self.reading.starts(seed)
        for column, form, at in zip(group.columns, self.forms, self._reads, strict=True):
            column[row] = form.at([addresses[one] for one in at], starts)


def _layout(
    rooms: Sequence[int], forms: Sequence[Form | Positions | RowsForm], reads: Sequence[tuple[int, ...]]
) -> bytes:
    """Pack what is copied for the compiled `copy`.

    These are the rooms of the drawn dimensions, and what each column says of itself; both begin with their number.

    Raises:
        ValueError: There are too many dimensions.
    """
    if max([len(rooms), *(len(form.shape) for form in forms)]) > _MOST_DIMS:
        raise ValueError("there are too many dimensions")
    if not forms:
        return b""
    found = [len(rooms), *rooms, len(forms)]
    for form, tensors in zip(forms, reads, strict=True):
        found += form.column(*tensors)
    return struct.pack(f"{len(found)}q", *found)


def _packed(pairs: Sequence[tuple[int, int]]) -> bytes:
    return struct.pack(f"{2 * len(pairs)}q", *chain(*pairs))


def _addresses(items: Sequence[Item], call: Call) -> list[int] | None:
    """The addresses of the tensors among some items in a call; None if an item is not what it was."""
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
    """The call that a plain reference is about; None if there is none."""
    if child is None:
        return call
    calls = call.seen.get(child, ()) if call.seen else ()
    return calls[number] if -len(calls) <= number < len(calls) else None


def _found(at: Call, what: int, key: Any) -> Any:
    """What a plain reference finds on a call."""
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
    """Whether a tensor has this form, and was not written to before the call ended."""
    noted = at.given if what == ARGUMENT else None if what == PARAMETER else at.returned
    view = noted.get(id(tensor)) if noted else None
    if view is None:  # a parameter, a tensor made in inference mode, or a copy
        return _form(tensor) == form
    if view[SHAPE:] != form:
        return False
    if what == RESULT and at is call:
        return True
    version = version_of(tensor)
    return bool(version == view[VERSION] == call.given.get(id(tensor), view)[VERSION])


def _plain(source: Reference | float, found: Any, call: Call) -> Plain | None:
    """The plain form of a reference; None if it has none, or would find something else."""
    one = plain(source)
    if one is None or (found is None and one.kind in (PARAMETER, ATTRIBUTE)):  # it may be elsewhere next time
        return None
    at = _at(call, one.child, one.number)
    return one if (None if at is None else _found(at, one.kind, one.key)) is found else None


def _parameter(owner: Any, path: tuple[str, ...]) -> Any:
    """A parameter of a module, or of a module below it."""
    *modules, name = path
    for below in modules:
        owner = children_of(owner).get(below) if isinstance(owner, torch.nn.Module) else None
    return parameters_of(owner).get(name) if isinstance(owner, torch.nn.Module) else None


def _settled(tensor: torch.Tensor) -> bytes | None:
    try:
        return compiled.settle(tensor) if compiled else None
    except RuntimeError as error:  # it has no memory of its own, or several pieces
        raise ValueError(str(error)) from error


def _getters(asked: Asked, tensors: Mapping[str, torch.Tensor]) -> dict[str, Getter]:
    """What finds each tensor again; ValueError if one is not what was found, but made of it."""
    found = {name: getter(source) for name, source, value in asked if value is not None and value is tensors.get(name)}
    if found.keys() != tensors.keys():
        raise ValueError("a symbol stands for what was made of a tensor")
    return found


def _kind(source: Reference | float) -> Getter:
    get = getter(source)
    return lambda call: type(get(call))


def _form(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """The shape, strides, dtype and pending sign of a tensor, as in a view; see `identity`."""
    if tensor.layout is not torch.strided:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg()
