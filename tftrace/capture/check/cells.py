"""Reads the cells of a check: a few seeded cells of a step's result, and what they were computed from.

Along the dimensions in which a cell stands alone, a few positions are drawn, and only these slices of the inputs are
read, so that the cost does not grow with the tensors. What is on an accelerator stays there until `fetch`, which waits
for it once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ...recipes.evaluate.evaluator import Evaluator
from ...recipes.evaluate.fitting import Fit
from ...recipes.evaluate.named_slices import Slice, move_cells, take
from ...recipes.evaluate.plan import Statement
from ...recipes.evaluate.split_dimension import is_split, original_name
from ...recipes.evaluate.value import Array, Value, constant
from ...recipes.formula.analysis import base_tensor, count_multiplications, moved_dims, named_dims
from ...recipes.formula.dims import Layout
from ...recipes.formula.nodes import Apply, Lookup, Name, Node, Select, walk
from ..measure.precision import UNIT, Precision
from .host_arrays import along, host, numbers_of, take_padded
from .masks import masks_of
from .pass_through import Passed
from .references import Unbound
from .strided import Drawn, Positions, Rows, Strided

_DRAWN = (4, 2)  # positions drawn along the last independent dimension, and along each of the others
_LONG = 64  # from so many cells along dimensions that are read whole, one row is enough
_DEAR, _DRAWN_DEAR = 512, (2, 2)  # the same if a cell takes this many products or more
_HEADS, _MOST_FOR_HEADS = ("H", "Hq", "G"), 1 << 16  # dimensions of heads; how many numbers all heads together may take
_DRAWN_DOUBLE = 16  # along a dimension that was split in two, whose cells need the same row
_AT_ONCE = 1 << 22  # products and cells of a block, if every cell is checked
ALL = "all"
_BITS = (1 << 64) - 1
Units = tuple[float, float]  # unit roundoff of single operations, and of sums


class Known:
    """The numbers and sizes shared by all steps that are evaluated together; everything else is given as leaves."""

    def __init__(self, sizes: Mapping[str, int], numbers: Mapping[str, float | str]) -> None:
        self._sizes, self._numbers = sizes, numbers

    def value(self, name: str) -> Value | None:
        number = self._numbers.get(name)
        return constant(number) if isinstance(number, float) else None

    def size(self, dim: str) -> int:
        return self._sizes[dim]

    def lookup(self, table: str, index: Value) -> Value:
        raise Unbound(f"{table} was not read")

    def select(self, name: str, dim: str, index: int) -> Value:
        raise Unbound(f"{name} was not read")

    def positions(self, dim: str) -> Array:
        raise Unbound(f"{dim} was not read")

    def moved(self, leaf: Apply, numbers: tuple[int, ...]) -> Value:
        raise Unbound(f"{base_tensor(leaf)} was not read")


class Reading:
    """How the cells of an equation are read, for all steps with the same shapes, numbers and dtypes.

    Args:
        fit: The equation, fitted to shapes.
        numbers: The numbers and words that its symbols stand for.
        dtypes: The dtypes of its tensors.
        cells: About how many cells to read; None for a few.

    Raises:
        Unbound: The cells cannot be read, or there is no bound for them.
    """

    def __init__(
        self, fit: Fit, numbers: Mapping[str, float | str], dtypes: Mapping[str, torch.dtype], cells: int | None = None
    ) -> None:
        self.fit, self.numbers = fit, numbers
        self._doubles = {name: original_name(name) for name in fit.layouts if original_name(name) != name}
        dtypes = {name: dtypes[original_name(name)] for name in fit.layouts}
        for name, dtype in dtypes.items():
            if dtype not in _READABLE:
                raise Unbound(f"{original_name(name)} is a tensor whose numbers cannot be read ({dtype})")
        if empty := [name for name, layout in fit.layouts.items() if any(fit.sizes[n] == 0 for n in layout.names)]:
            raise Unbound(f"{original_name(empty[0])} is empty")
        self.slices = {name: Slice(layout, fit.sizes) for name, layout in fit.layouts.items()}
        self.rooms: list[int] = []  # how many starts each drawn dimension of each statement has
        self.statements = []
        for one in fit.plan.statements:
            self.statements.append(statement := _Statement(self, one, dtypes, cells, len(self.rooms)))
            self.rooms += [drawn.room for drawn in statement.drawn.values()]
        kinds = {kind for kind in dtypes.values() if kind.is_floating_point}
        if unbounded := [kind for kind in kinds if kind not in UNIT]:
            raise Unbound(f"there is no rounding bound for {', '.join(map(str, unbounded))}")
        self.passes, self.masks = Passed(fit), masks_of(fit.plan)
        # The coarsest dtype that took part; all backends accumulate sums of half precision in float32.
        unit = max((UNIT[kind] for kind in kinds), default=2.0**-24)
        self._usual = unit, min(unit, 2.0**-24)
        self._products = [(s.symbol, s.windows) for s in self.statements if s.single_products]

    @property
    def usual(self) -> tuple[Units, bool]:
        """The unit roundoffs, and whether they depend on how matrix products are computed at the moment."""
        return self._usual, bool(self._products)

    @cached_property
    def waits(self) -> bool:
        """Whether drawing cells needs numbers first, such as rows of a table that a sum selects."""
        indices = [
            leaf.index for s in self.statements for leaf in s.leaves
            if isinstance(leaf, Lookup) and not (isinstance(leaf.index, Name) and leaf.index.id in self.slices)
        ]  # fmt: skip
        return any(isinstance(node, Name) and node.id in self.slices for index in indices for node in walk(index))

    @cached_property
    def amount(self) -> int:
        """How many multiplications the drawn cells of a step take."""
        names, found = {name: slice_.names for name, slice_ in self.slices.items()}, 0
        for read, statement in zip(self.statements, self.fit.plan.statements, strict=True):
            sizes = {**self.fit.sizes, **{dim: drawn.cells for dim, drawn in read.drawn.items()}}
            found += count_multiplications(statement.body, names, sizes.__getitem__)
        return found

    def units(self, tensors: Mapping[str, torch.Tensor] | None, precision: Precision) -> Units:
        """Unit roundoff, which also depends on how matrix products of float32 are computed at this moment; without
        `tensors` on the host."""
        usual = self._usual
        for symbol, windows in self._products:
            unit = precision.unit("cpu" if tensors is None else tensors[symbol].device.type, windows)
            if unit > usual[0]:
                usual = unit, min(unit, 2.0**-24)
        return usual

    def draw(self, tensors: Mapping[str, torch.Tensor], seed: int, units: Units) -> list[Any]:
        """Read a few cells of every symbol that the equation gives.

        Args:
            tensors: The tensors, by symbol.
            seed: Decides which cells are drawn.
            units: The unit roundoffs.

        Returns:
            For each statement, what its expression needs, then what was returned. Arrays may be views of the tensors,
            to be copied at once; cells on an accelerator are copied there, without waiting for it.
        """
        tensors, found = self._named(tensors), []
        starts = self.starts(seed)
        for statement in self.statements:
            cells = None
            for at, names, strided in statement.reads:
                part = None if strided is None else strided([tensors[name] for name in names], starts)
                if part is None:
                    cells = cells or _Cells(self, tensors, units, statement.positions(starts))
                    part = cells.part(statement, at)
                found.append(part)
        return found

    def _named(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The tensors by all of their names."""
        return {**tensors, **{name: tensors[first] for name, first in self._doubles.items()}}

    def starts(self, seed: int) -> list[int]:
        """The first position along each drawn dimension of each statement."""
        found = []
        for room in self.rooms:
            seed = (seed * 6364136223846793005 + 1442695040888963407) & _BITS
            found.append((seed >> 33) % room)
        return found

    def blocks(self) -> Iterator[list[dict[str, Array]]]:
        """Yield positions for each statement, in blocks that together cover all cells."""
        each = [statement.blocks for statement in self.statements]
        for at in range(max(map(len, each))):
            yield [blocks[min(at, len(blocks) - 1)] for blocks in each]

    def read(
        self, tensors: Mapping[str, torch.Tensor], units: Units, positions: Sequence[dict[str, Array]]
    ) -> list[Any]:
        """Do what `draw` does at given positions of each statement."""
        tensors, found = self._named(tensors), []
        for statement, drawn in zip(self.statements, positions, strict=True):
            cells = _Cells(self, tensors, units, drawn)
            found += [cells.part(statement, at) for at, _, _ in statement.reads]
        return found


class _Statement:
    """A symbol that is compared, and what is read for it."""

    def __init__(
        self,
        reading: Reading,
        statement: Statement,
        dtypes: Mapping[str, torch.dtype],
        cells: int | None,
        first: int,
    ) -> None:
        self.symbol, self.dtype = statement.symbol, dtypes[statement.symbol]
        self.single_products = statement.products and self.dtype is torch.float32
        self.windows = statement.windows
        sizes, alone = reading.fit.sizes, statement.independent
        row = math.prod(sizes[dim] for dim in reading.slices[self.symbol].names if dim not in alone)
        self.leaves = reading.fit.leaves[statement.symbol]
        tensors = {base_tensor(leaf) for leaf in self.leaves} & set(reading.slices)
        whole = {name for tensor in tensors for name in reading.slices[tensor].names} - set(alone)
        self._cost = math.prod(sizes[name] for name in whole)
        counts = _counts(row, self._cost, [sizes[dim] for dim in alone], cells)
        if cells is None and any(
            isinstance(node, Apply) and node.function == "softmax" for node in walk(statement.body)
        ):
            counts = _all_heads(counts, alone, sizes, row * self._cost)
        if any(map(is_split, alone)):
            counts = [_DRAWN_DOUBLE if is_split(dim) else 1 for dim in alone]
        self.drawn = {d: _drawn(sizes[d], count) for d, count in zip(alone, counts, strict=True) if sizes[d] > count}
        self._starts = slice(first, first + len(self.drawn))  # among the starts of the reading
        self.units = [
            UNIT.get(dtypes.get(base_tensor(leaf), torch.int64)) for leaf in self.leaves
        ]  # of each leaf's dtype
        # index of the leaf, its tensors, and how it is read if that can be by address; the symbol itself comes last
        self.reads: list[tuple[int, tuple[str, ...], Positions | Strided | Rows | None]] = []
        self.dims: list[tuple[str, ...]] = []  # of other leaves known once they are read
        names = {name: one.names for name, one in reading.slices.items()}
        places = {dim: place for place, dim in enumerate(self.drawn, start=first)}
        positions = lambda dim: (self.drawn.get(dim, Drawn(1, 1, sizes[dim])), places.get(dim))  # noqa: E731
        strided = partial(_strided, reading.fit.layouts, sizes, self.drawn, dtypes, first)
        for at, leaf in enumerate((*self.leaves, Name(self.symbol))):
            read, found, dims = _way(leaf, names, dtypes, sizes, strided, positions)
            self.reads.append((at, read, found))
            self.dims.append(dims)
        self._alone = [(dim, sizes[dim]) for dim in alone]

    def positions(self, starts: Sequence[int]) -> dict[str, Array]:
        """The drawn positions, from these first ones on."""
        own = starts[self._starts]
        return {dim: drawn.at(start) for (dim, drawn), start in zip(self.drawn.items(), own, strict=True)}

    @cached_property
    def blocks(self) -> list[dict[str, Array]]:
        """All positions along the dimensions in which a cell stands alone, in blocks."""
        left, parts = max(_AT_ONCE // max(self._cost, 1), 1), []
        for dim, size in reversed(self._alone):
            length = min(size, left)
            left = max(left // length, 1)
            parts.append([(dim, np.arange(at, min(at + length, size))) for at in range(0, size, length)])
        return [dict(chosen) for chosen in itertools.product(*parts)]


def _strided(
    layouts: Mapping[str, Layout],
    sizes: Mapping[str, int],
    drawn: Mapping[str, Drawn],
    dtypes: Mapping[str, torch.dtype],
    first: int,
    name: str,
    fixed: tuple[str, int] | None = None,
) -> Strided:
    return Strided(layouts[name], sizes, drawn, dtypes[name], first, fixed)


def _way(
    leaf: Node,
    names: Mapping[str, tuple[str, ...]],
    dtypes: Mapping[str, torch.dtype],
    sizes: Mapping[str, int],
    strided: Callable[..., Strided],
    positions: Callable[[str], tuple[Drawn, int | None]],
) -> tuple[tuple[str, ...], Positions | Strided | Rows | None, tuple[str, ...]]:
    """The tensors of a leaf, how it is read by address, and its dimensions; None and none if it has to be evaluated."""
    match leaf:
        case Apply("pos", (Name(dim),)) if dim in sizes:
            return (), Positions(*positions(dim)), (dim,)
        case Name(name):
            return (name,), strided(name), names[name]
        case Select(Name(name), dim, at) if dim in names.get(name, ()) and -sizes[dim] <= at < sizes[dim]:
            return (name,), strided(name, (dim, at % sizes[dim])), tuple(n for n in names[name] if n != dim)
        case Lookup(Name(table), Name(index)) if names.get(table) and dtypes.get(index) in _INDICES:
            rows, *rest = names[table]
            way = Rows(strided(table, (rows, 0)), strided(index), sizes[rows])
            return (table, index), way, (*names[index], *rest)
    return (base_tensor(leaf),), None, ()


def _counts(row: int, cost: int, sizes: list[int], cells: int | None) -> list[int]:
    """Choose how many positions to draw along each dimension in which a cell stands alone.

    Args:
        row: How many cells belong to one choice of positions.
        cost: How many numbers a cell needs.
        sizes: The sizes of these dimensions.
        cells: About how many cells are wanted; None for a few.
    """
    if cells is None:
        last, others = (1, 1) if row >= _LONG else _DRAWN_DEAR if cost >= _DEAR else _DRAWN
        return [others] * (len(sizes) - 1) + [last] if sizes else []
    counts = [1] * len(sizes)
    while math.prod(counts) * row < cells and counts != sizes:
        at = min((at for at, n in enumerate(counts) if n < sizes[at]), key=counts.__getitem__)
        counts[at] = min(2 * counts[at], sizes[at])
    return counts


def _all_heads(counts: list[int], alone: Sequence[str], sizes: Mapping[str, int], cost: int) -> list[int]:
    """Change the counts to include all heads of an attention, since each computes something else.

    This is done only if it takes few numbers, if necessary for a single query.
    """
    counts = [min(count, sizes[dim]) for count, dim in zip(counts, alone, strict=True)]
    heads = [dim in _HEADS for dim in alone]
    for others in (counts, [1] * (len(counts) - 1) + counts[-1:]):
        found = [sizes[dim] if head else n for dim, head, n in zip(alone, heads, others, strict=True)]
        if math.prod(found) * cost <= _MOST_FOR_HEADS:
            return found
    return counts


_INDICES = (torch.int64, torch.int32)
_READABLE = {*UNIT, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def _drawn(size: int, count: int) -> Drawn:
    apart = size // count
    return Drawn(size - apart * (count - 1), apart, count)


def _take(tensor: torch.Tensor, slice_: Slice, drawn: Mapping[str, Array]) -> Any:
    return take(numbers_of(tensor), slice_, drawn, along)


class _Cells(Known):
    """The cells of the leaves of a statement, read in whatever way they need."""

    def __init__(
        self, reading: Reading, tensors: Mapping[str, torch.Tensor], units: Units, drawn: Mapping[str, Array]
    ) -> None:
        super().__init__(reading.fit.sizes, reading.numbers)
        self._slices, self._tensors, self._units, self._drawn = reading.slices, tensors, units, drawn

    def part(self, statement: _Statement, at: int) -> Any:
        """The cells of a leaf, or, after the last leaf, those of the symbol."""
        if at == len(statement.leaves) or isinstance(statement.leaves[at], Name):
            return self._cells(statement.reads[at][1][0])
        statement.dims[at], found = self._read(statement.leaves[at])
        return found

    def _read(self, leaf: Node) -> tuple[tuple[str, ...], Any]:
        """The dimensions and the cells of a leaf that is no plain tensor."""
        if isinstance(leaf, Lookup) and isinstance(leaf.index, Name) and leaf.index.id in self._slices:
            return self._rows(leaf.table.id, leaf.index.id)
        if isinstance(leaf, Select) and leaf.base.id in self._slices:
            return self._selected(leaf.base.id, leaf.dim, leaf.index)
        evaluator = Evaluator(self, *self._units)
        if isinstance(leaf, Apply) and base_tensor(leaf) in self._slices:
            return self._moved(leaf, evaluator.numbers(leaf))
        value = evaluator.evaluate(leaf)
        return value.dims, value.v.astype(np.int64) if value.integer else value.v

    def _cells(self, name: str) -> Any:
        return _take(self._tensors[name], self._slices[name], self._drawn)

    def _rows(self, table: str, index: str) -> tuple[tuple[str, ...], Any]:
        """The rows of a table that the drawn cells of an index select."""
        rows, found = self._cells(index), self._slices[table].of(numbers_of(self._tensors[table]))
        dims = self._slices[index].names
        if isinstance(found, torch.Tensor):
            rows = torch.from_numpy(rows).to(found.device) if isinstance(rows, np.ndarray) else rows
            found = found[rows.long()]
        else:
            found = found[host(rows).astype(np.int64)]
        for name in self._slices[table].names[1:]:
            if name in self._drawn:
                found = along(found, self._drawn[name], len(dims))
            dims = (*dims, name)
        return dims, found

    def _selected(self, name: str, dim: str, index: int) -> tuple[tuple[str, ...], Any]:
        """The drawn cells at one position of a dimension."""
        slice_ = self._slices[name]
        part = slice_.of(self._tensors[name].detach())
        rest = Layout(tuple((n,) for n in slice_.names if n != dim))
        return rest.names, _take(part.select(slice_.names.index(dim), index), Slice(rest, {}), self._drawn)

    def _moved(self, leaf: Apply, numbers: tuple[int, ...]) -> tuple[tuple[str, ...], Any]:
        """The cells of a tensor with renamed dimensions, or through windows."""
        slice_, moved = self._slices[base_tensor(leaf)], named_dims(leaf)[:: 2 if leaf.function == "rename" else 3]
        drawn = {d: at for d, at in self._drawn.items() if d not in moved}
        found = _take(self._tensors[base_tensor(leaf)], slice_, drawn)
        found = move_cells(found, leaf, numbers, slice_.names, self._sizes, self.positions, take_padded)
        return moved_dims(leaf, slice_.names), found

    # -- what the evaluator needs ---------------------------------------------------------------

    def value(self, name: str) -> Value | None:
        return _value(self._slices[name].names, self._cells(name)) if name in self._slices else super().value(name)

    def lookup(self, table: str, index: Value) -> Value:
        slice_ = self._slices[table]
        tensor = slice_.of(self._tensors[table].detach())
        rows = torch.from_numpy(index.v.astype(np.int64)).to(tensor.device)
        part = tensor.index_select(0, rows.reshape(-1)).reshape(*rows.shape, *tensor.shape[1:])
        found: Any = part
        for axis, name in enumerate(slice_.names[1:], start=rows.dim()):
            if name in self._drawn:
                found = along(found, self._drawn[name], axis)
        return _value(index.dims + slice_.names[1:], found)

    def select(self, name: str, dim: str, index: int) -> Value:
        return _value(*self._selected(name, dim, index))

    def moved(self, leaf: Apply, numbers: tuple[int, ...]) -> Value:
        return _value(*self._moved(leaf, numbers))

    def positions(self, dim: str) -> Array:
        at = self._drawn.get(dim)
        return np.arange(self._sizes[dim]) if at is None else at


def _value(dims: tuple[str, ...], found: Any) -> Value:
    v = host(found)
    v = v if v.dtype == np.bool_ else v.astype(np.float64)
    return Value(dims, v, np.zeros(v.shape))
