"""The spot check, first half: a few seeded cells of a step's result, and of what it was computed from, are read.

Along the dimensions in which a cell stands alone a few positions are drawn, and only these slices of the inputs are
read, so that the cost does not grow with the tensors. What is on an accelerator stays there until `fetch`, which
waits for it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ..recipes.dims import Layout
from ..recipes.evaluate import Array, Evaluator, Value, constant
from ..recipes.formula import Lookup, Name, Node
from ..recipes.plan import Fit, Statement
from .references import Unbound

_DRAWN = 2  # positions along an independent dimension …
_DRAWN_LAST = 4  # … and along the last one
_NUMPY = {torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.bool}  # seen without a copy
_BITS = (1 << 64) - 1
UNIT = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}  # unit roundoff


class Leaf(NamedTuple):
    """What was read for one leaf of an expression: numbers with named dimensions, which may be on their way from an
    accelerator still, and the unit roundoff of a cast where the run computed in a coarser dtype (autocast)."""

    dims: tuple[str, ...]
    v: Any
    cast: float = 0.0
    e: Array | None = None


@dataclass(slots=True, eq=False)
class Draw:
    """What was read for one symbol of one step: the leaves of its expression and the cells that were returned."""

    leaves: dict[Node, Leaf]
    returned: Any
    dtype: torch.dtype
    units: tuple[float, float]  # unit roundoff of single operations, and of sums

    @property
    def size(self) -> int:
        """Number of cells held."""
        return sum(int(np.prod(leaf.v.shape)) for leaf in self.leaves.values())


class Known:
    """The numbers and sizes that the steps evaluated together share; all else is given."""

    def __init__(self, sizes: Mapping[str, int], numbers: Mapping[str, float]) -> None:
        self._sizes, self._numbers = sizes, numbers

    def value(self, name: str) -> Value | None:
        return constant(self._numbers[name]) if name in self._numbers else None

    def size(self, dim: str) -> int:
        return self._sizes[dim]

    def lookup(self, table: str, index: Value) -> Value:
        raise Unbound(f"{table} was not read")

    def select(self, name: str, dim: str, index: int) -> Value:
        raise Unbound(f"{name} was not read")

    def positions(self, dim: str) -> Array:
        raise Unbound(f"{dim} was not read")


class Reading:
    """How the cells of an equation are read: what its fit and the dtypes of its tensors settle, once for many steps."""

    def __init__(self, fit: Fit, dtypes: Mapping[str, torch.dtype]) -> None:
        self.fit = fit
        for name in fit.layouts:
            if dtypes[name].is_complex or dtypes[name] not in _READABLE:
                raise Unbound(f"{name} is a tensor whose numbers cannot be read ({dtypes[name]})")
        if empty := [name for name, layout in fit.layouts.items() if any(fit.sizes[n] == 0 for n in layout.names)]:
            raise Unbound(f"{empty[0]} is empty")
        self.slices = {name: _Slice(layout, fit.sizes) for name, layout in fit.layouts.items()}
        self.drawn = {s.symbol: _drawn(s, fit.sizes) for s in fit.plan.statements}
        kinds = {kind for name, kind in dtypes.items() if name in fit.layouts and kind.is_floating_point}
        units = [UNIT[k] for k in kinds if k in UNIT]
        if len(units) < len(kinds):
            raise Unbound(f"there is no rounding bound for {', '.join(str(k) for k in kinds if k not in UNIT)}")
        # The coarsest dtype that took part; sums of half precision every backend accumulates in float32.
        self.unit = max(units, default=2.0**-24)

    def draw(
        self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float], seed: int
    ) -> dict[str, Draw]:
        """Read a few cells of every symbol that the equation gives; raises Unbound where there are no numbers."""
        return {s.symbol: _Cells(self, tensors, numbers).draw(s, seed) for s in self.fit.plan.statements}


_READABLE = {*UNIT, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def _drawn(statement: Statement, sizes: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """The dimensions that are not read whole: name, size, and how many positions are drawn."""
    last = statement.independent[-1:]
    most = [(dim, sizes[dim], _DRAWN_LAST if dim in last else _DRAWN) for dim in statement.independent]
    return [(dim, size, count) for dim, size, count in most if size > count]


def _positions(seed: int, size: int, count: int) -> Array:
    """Sorted distinct positions, one in each of `count` equal stretches (by a linear congruential generator)."""
    found = []
    for part in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) & _BITS
        low, high = size * part // count, size * (part + 1) // count
        found.append(low + (seed >> 33) % (high - low))
    return np.array(found)


class _Slice:
    """How an array is brought into the shape of its named dimensions."""

    def __init__(self, layout: Layout, sizes: Mapping[str, int]) -> None:
        self.names = layout.names
        index = tuple(0 if names is None else slice(None) for names in layout.axes)
        self.index = index if 0 in index else None
        self.shape = tuple(sizes[n] for n in layout.names) if any(len(a or ()) > 1 for a in layout.axes) else None

    def __call__(self, found: Any) -> Any:
        if self.index is not None:
            found = found[self.index]
        return found if self.shape is None else found.reshape(self.shape)  # only takes axes apart: a view


class _Cells(Known):
    """The symbols of one statement, read on the drawn cells."""

    def __init__(self, reading: Reading, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]) -> None:
        super().__init__(reading.fit.sizes, numbers)
        self._reading, self._tensors = reading, tensors
        self._drawn: dict[str, Array] = {}  # positions along the dimensions that are not read whole
        self._unit = reading.unit
        self._leaves: dict[str, Leaf] = {}

    def draw(self, statement: Statement, seed: int) -> Draw:
        """Draw positions, and read there what the symbol's expression needs and what was returned."""
        target = self._tensors[statement.symbol]
        for number, (dim, size, count) in enumerate(self._reading.drawn[statement.symbol]):
            self._drawn[dim] = _positions(seed * 31 + number, size, count)
        if statement.products and target.dtype is torch.float32:
            self._unit = max(self._unit, _product_unit(target.device.type))
        units = self._unit, min(self._unit, 2.0**-24)
        leaves, evaluator = {}, None
        for leaf in self._reading.fit.leaves[statement.symbol]:
            if isinstance(leaf, Name):
                leaves[leaf] = self._leaf(leaf.id)
            elif isinstance(leaf, Lookup) and isinstance(leaf.index, Name) and leaf.index.id in self._tensors:
                leaves[leaf] = self._rows(leaf.table.id, leaf.index.id)
            else:
                evaluator = evaluator or Evaluator(self, *units)
                found = evaluator.evaluate(leaf)
                leaves[leaf] = Leaf(found.dims, found.v, 0.0, found.e)
        return Draw(leaves, self._leaf(statement.symbol).v, target.dtype, units)

    def _leaf(self, name: str) -> Leaf:
        found = self._leaves.get(name)
        if found is None:
            tensor, slice_ = self._tensors[name], self._reading.slices[name]
            found = self._leaves[name] = Leaf(slice_.names, self._take(tensor, slice_), self._cast(tensor))
        return found

    def _cast(self, tensor: torch.Tensor) -> float:
        return self._unit if UNIT.get(tensor.dtype, self._unit) < self._unit else 0.0

    def _take(self, tensor: torch.Tensor, slice_: _Slice, first: int = 0) -> Any:
        """A copy of the drawn positions along the axes from `first` on."""
        found = _numbers(tensor)
        whole = True
        found = slice_(found)
        for axis, name in enumerate(slice_.names[first:], start=first):
            at = self._drawn.get(name)
            if at is not None:
                found, whole = _along(found, at, axis), False
        if whole:
            found = found.copy() if isinstance(found, np.ndarray) else found.clone()
        return found

    def _rows(self, table: str, index: str) -> Leaf:
        """The rows of a table that the drawn cells of an index name."""
        tensor, slice_ = self._tensors[table], self._reading.slices[table]
        at = self._leaf(index)
        dims, rows, found = at.dims + slice_.names[1:], at.v, _numbers(tensor)
        if isinstance(found, torch.Tensor):
            rows = torch.from_numpy(rows).to(found.device) if isinstance(rows, np.ndarray) else rows
            found = found[rows.long()]
        else:
            found = found[host(rows).astype(np.int64)]
        for axis, name in enumerate(slice_.names[1:], start=len(at.dims)):
            if name in self._drawn:
                found = _along(found, self._drawn[name], axis)
        return Leaf(dims, found, self._cast(tensor))

    # -- what the evaluator asks for ---------------------------------------------------------------

    def value(self, name: str) -> Value | None:
        return value_of(self._leaf(name)) if name in self._reading.slices else super().value(name)

    def lookup(self, table: str, index: Value) -> Value:
        tensor, slice_ = self._tensors[table], self._reading.slices[table]
        rows = torch.from_numpy(index.v.astype(np.int64)).to(tensor.device)
        part = tensor.detach().index_select(0, rows.reshape(-1)).reshape(*rows.shape, *tensor.shape[1:])
        names = index.dims + slice_.names[1:]
        layout = Layout(tuple((n,) for n in names))
        found = self._take(part, _Slice(layout, {}), rows.dim())
        return value_of(Leaf(names, found))

    def select(self, name: str, dim: str, index: int) -> Value:
        tensor, slice_ = self._tensors[name], self._reading.slices[name]
        axis = slice_.names.index(dim)
        part = slice_(tensor.detach()).select(axis, index)
        rest = Layout(tuple((n,) for n in slice_.names if n != dim))
        return value_of(Leaf(rest.names, self._take(part, _Slice(rest, {})), self._cast(tensor)))

    def positions(self, dim: str) -> Array:
        at = self._drawn.get(dim)
        return np.arange(self._sizes[dim]) if at is None else at


def value_of(leaf: Leaf) -> Value:
    """A leaf as the evaluator takes it, in float64 and with the rounding of its cast."""
    v = host(leaf.v)
    v = v if v.dtype == np.bool_ else v.astype(np.float64)
    e = np.zeros(v.shape) if leaf.e is None else leaf.e
    return Value(leaf.dims, v, e + leaf.cast * np.abs(v, dtype=np.float64) if leaf.cast else e)


def fetch(draws: Iterable[Draw]) -> None:
    """Bring what is still on accelerators to the host, waiting for each device and dtype once."""
    waiting: dict[Any, list[tuple[Draw, Node | None, torch.Tensor]]] = {}
    for draw in draws:
        for key, leaf in draw.leaves.items():
            if isinstance(leaf.v, torch.Tensor):
                waiting.setdefault((leaf.v.device, leaf.v.dtype), []).append((draw, key, leaf.v))
        if isinstance(draw.returned, torch.Tensor):
            waiting.setdefault((draw.returned.device, draw.returned.dtype), []).append((draw, None, draw.returned))
    for parts in waiting.values():
        whole, at = host(torch.cat([tensor.reshape(-1) for _, _, tensor in parts])), 0
        for draw, key, tensor in parts:
            part = whole[at : at + tensor.numel()].reshape(tuple(tensor.shape))
            at += tensor.numel()
            if key is None:
                draw.returned = part
            else:
                draw.leaves[key] = draw.leaves[key]._replace(v=part)


def host(found: Any) -> Array:
    """An array of the numbers, copied from a device if need be."""
    if isinstance(found, torch.Tensor):
        found = found.cpu()
        found = (found if found.dtype in _NUMPY else found.to(torch.float64)).numpy()
    array: Array = np.asarray(found)
    return array


def on_host(tensor: torch.Tensor) -> bool:
    """Whether reading the tensor's numbers waits for no device."""
    return tensor.is_cpu


def _numbers(tensor: torch.Tensor) -> Any:
    """An array that shares the tensor's memory where it can; elsewhere the tensor."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise Unbound(f"there are no numbers to read in a tensor of {tensor.device} and {tensor.layout}")
    found = tensor.detach() if tensor.requires_grad else tensor
    if found.is_neg():
        found = found.resolve_neg()
    return found.numpy() if found.dtype in _NUMPY and on_host(found) else found


def _along(found: Any, at: Array, axis: int) -> Any:
    """The positions `at` along an axis; on a device without sending them there, for which the host would wait."""
    if isinstance(found, np.ndarray):
        return found.take(at, axis)
    return torch.stack([found.select(axis, int(i)) for i in at], axis)


def _product_unit(device: str) -> float:
    """Unit roundoff of matrix products of float32 tensors: autocast and fast modes compute them more coarsely."""
    if torch.is_autocast_enabled(device):
        return UNIT.get(torch.get_autocast_dtype(device), 2.0**-8)
    fast = torch.get_float32_matmul_precision() != "highest" or (
        device == "cuda" and torch.backends.cuda.matmul.allow_tf32
    )
    return 2.0**-8 if fast else 2.0**-24
