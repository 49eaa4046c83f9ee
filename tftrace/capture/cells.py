"""The spot check: a few seeded cells of a step's result, recomputed in float64 from what the step really used.

Along the dimensions in which a cell stands alone a few positions are drawn, and only these slices of the inputs are
read, so that the cost does not grow with the tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import torch

from ..recipes.analysis import BATCH
from ..recipes.dims import Layout
from ..recipes.evaluate import Array, Evaluator, Value, constant, reorder
from ..recipes.formula import Name, Node
from ..recipes.plan import Fit, Plan, Statement
from .references import Unbound

_DRAWN = 2  # positions along an independent dimension …
_DRAWN_LAST = 4  # … and along the last one
_NUMPY = {torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.bool}  # seen without a copy
_UNIT = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}  # unit roundoff


class Outcome(NamedTuple):
    """The worst cell of a check."""

    holds: bool
    residual: float
    bound: float
    cells: int
    symbol: str


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What was read for one symbol of one step: the leaves of its expression and the cells that were returned."""

    leaves: Mapping[Node, Value]
    returned: Array
    dtype: torch.dtype
    units: tuple[float, float]  # unit roundoff of single operations, and of sums

    @property
    def size(self) -> int:
        """Number of cells held."""
        return sum(value.v.size for value in self.leaves.values())


def draw_cells(
    fit: Fit, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float], draw: Random
) -> dict[str, Draw]:
    """Read a few cells of every symbol that an equation gives; raises Unbound where there are no numbers to read."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise Unbound(f"{name} is a tensor whose numbers cannot be read ({tensor.dtype}, {tensor.layout})")
        if tensor.numel() == 0:
            raise Unbound(f"{name} is empty")
    return {s.symbol: _Cells(fit, tensors, numbers).draw(s, draw) for s in fit.plan.statements}


def judge(plan: Plan, numbers: Mapping[str, float], steps: Sequence[Mapping[str, Draw]]) -> list[Outcome | str]:
    """Evaluate a plan for several steps at once and compare with what each returned; a text says why one cannot be."""
    found: list[list[Outcome | str]] = [[] for _ in steps]
    for statement in plan.statements:
        drawn = [step[statement.symbol] for step in steps]
        read = {leaf: _stacked([d.leaves[leaf] for d in drawn]) for leaf in statement.leaves}
        returned = np.stack([d.returned for d in drawn]).astype(np.float64)
        dtype, units = drawn[0].dtype, drawn[0].units
        result = Evaluator(_Known(plan.sizes, numbers), *units, read).evaluate(statement.body)
        result = reorder(result, (BATCH, *plan.layouts[statement.symbol].names), returned.shape)
        bound = result.e + _UNIT.get(dtype, 0.0) * np.abs(result.v) + _tiny(dtype)
        for at, outcomes in enumerate(found):
            outcomes.append(_compare(statement.symbol, returned[at], result.v[at], bound[at], dtype))
    return [_worst(outcomes) for outcomes in found]


def _worst(outcomes: list[Outcome | str]) -> Outcome | str:
    """One statement that differs decides; else one that could not be checked; else the largest share of the bound."""
    judged = [o for o in outcomes if isinstance(o, Outcome)]
    unchecked = [o for o in outcomes if isinstance(o, str)]
    if unchecked and all(o.holds for o in judged):
        return unchecked[0]
    worst = max(judged, key=lambda o: (not o.holds, o.residual / o.bound if o.bound else o.residual))
    return worst._replace(cells=sum(o.cells for o in judged))


def _stacked(values: list[Value]) -> Value:
    v = np.stack([x.v for x in values])
    exact = not any(x.e.any() for x in values)
    return Value((BATCH, *values[0].dims), v, np.zeros(v.shape) if exact else np.stack([x.e for x in values]))


class _Known:
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


class _Cells(_Known):
    """The symbols of one statement, read on the drawn cells."""

    def __init__(self, fit: Fit, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, float]) -> None:
        super().__init__(fit.sizes, numbers)
        self._fit, self._tensors, self._layouts = fit, tensors, fit.layouts
        self._drawn: dict[str, Array] = {}  # positions along the dimensions that are not read whole
        self._unit = 0.0
        self._values: dict[str, Value] = {}

    def draw(self, statement: Statement, draw: Random) -> Draw:
        """Draw positions, and read there what the symbol's expression needs and what was returned."""
        target, layout = self._tensors[statement.symbol], self._layouts[statement.symbol]
        for dim in statement.independent:
            size, most = self._sizes[dim], _DRAWN_LAST if dim == statement.independent[-1] else _DRAWN
            if size > most:
                self._drawn[dim] = np.array(sorted(draw.sample(range(size), most)))
        units = self._unit, _ = self._units(target, statement.products)
        evaluator = Evaluator(self, *units)
        leaves = {}
        for leaf in self._fit.leaves[statement.symbol]:
            found = self.value(leaf.id) if isinstance(leaf, Name) else None
            leaves[leaf] = evaluator.evaluate(leaf) if found is None else found
        return Draw(leaves, self._slice(target, layout), target.dtype, units)

    def _units(self, target: torch.Tensor, products: bool) -> tuple[float, float]:
        """Unit roundoff of single operations and of sums: the coarsest dtype that took part, and for sums of half
        precision float32, in which every backend accumulates them."""
        kinds = {t.dtype for t in (*self._tensors.values(), target) if t.is_floating_point()}
        units = [_UNIT[k] for k in kinds if k in _UNIT]
        if len(units) < len(kinds):
            raise Unbound(f"there is no rounding bound for {', '.join(str(k) for k in kinds if k not in _UNIT)}")
        unit = max(units, default=2.0**-24)
        if products and target.dtype is torch.float32:
            unit = max(unit, _product_unit(target.device.type))
        return unit, min(unit, 2.0**-24)

    def _slice(self, tensor: torch.Tensor, layout: Layout) -> Array:
        part = tensor.detach()
        for axis in reversed(range(len(layout.axes))):
            names = layout.axes[axis]
            if names is None:
                part = part.select(axis, 0)
            elif len(names) > 1:
                part = part.unflatten(axis, [self._sizes[n] for n in names])  # type: ignore[no-untyped-call]
        return self._take(part, layout.names)

    def _take(self, part: torch.Tensor, names: tuple[str, ...], first: int = 0) -> Array:
        """Only the drawn positions along the axes from `first` on, which have these names; from an accelerator
        nothing else travels."""
        drawn = [(axis, self._drawn[name]) for axis, name in enumerate(names, start=first) if name in self._drawn]
        if part.device.type != "cpu" or part.dtype not in _NUMPY or part.is_neg():
            for axis, at in drawn:
                part = part.index_select(axis, torch.from_numpy(at).to(part.device))
            part = part.cpu().resolve_neg()
            return (part.clone() if part.dtype is torch.bool else part.to(torch.float64, copy=True)).numpy()
        found: Array = part.numpy()
        for axis, at in drawn:
            found = found.take(at, axis)
        return found.astype(np.bool_ if found.dtype == np.bool_ else np.float64)  # always a copy: it is kept

    def _read(self, tensor: torch.Tensor, layout: Layout) -> Value:
        """The drawn cells, with the rounding of a cast where the run computed in a coarser dtype (autocast)."""
        found = self._slice(tensor, layout)
        cast = self._unit if tensor.is_floating_point() and _UNIT[tensor.dtype] < self._unit else 0.0
        return Value(layout.names, found, cast * np.abs(found, dtype=np.float64) if cast else np.zeros(found.shape))

    # -- what the evaluator asks for ---------------------------------------------------------------

    def value(self, name: str) -> Value | None:
        if name not in self._tensors or name not in self._layouts:
            return super().value(name)
        if name not in self._values:
            self._values[name] = self._read(self._tensors[name], self._layouts[name])
        return self._values[name]

    def lookup(self, table: str, index: Value) -> Value:
        tensor, layout = self._tensors[table], self._layouts[table]
        rows = torch.from_numpy(index.v.astype(np.int64)).to(tensor.device)
        part = tensor.detach().index_select(0, rows.reshape(-1)).reshape(*rows.shape, *tensor.shape[1:])
        found = self._take(part, layout.names[1:], rows.dim())
        return Value(index.dims + layout.names[1:], found, np.zeros(found.shape))

    def select(self, name: str, dim: str, index: int) -> Value:
        layout = self._layouts[name]
        axis = next((i for i, names in enumerate(layout.axes) if names is not None and dim in names), None)
        if axis is None:
            raise Unbound(f"{name} has no dimension {dim}")
        names = layout.axes[axis] or ()
        tensor = self._tensors[name]
        if len(names) > 1:
            tensor = tensor.unflatten(axis, [self._sizes[n] for n in names])  # type: ignore[no-untyped-call]
            axis += names.index(dim)
        before, after = layout.axes[: axis - names.index(dim)], layout.axes[axis - names.index(dim) + 1 :]
        rest = tuple((n,) for n in names if n != dim)
        kept = Layout((*before, *rest, *after))
        return self._read(tensor.select(axis, index), kept)

    def positions(self, dim: str) -> Array:
        at = self._drawn.get(dim)
        return np.arange(self._sizes[dim]) if at is None else at


def _product_unit(device: str) -> float:
    """Unit roundoff of matrix products of float32 tensors: autocast and fast modes compute them more coarsely."""
    if torch.is_autocast_enabled(device):
        return _UNIT.get(torch.get_autocast_dtype(device), 2.0**-8)
    fast = torch.get_float32_matmul_precision() != "highest" or (
        device == "cuda" and torch.backends.cuda.matmul.allow_tf32
    )
    return 2.0**-8 if fast else 2.0**-24


def _compare(symbol: str, returned: Array, exact: Array, bound: Array, dtype: torch.dtype) -> Outcome | str:
    """The worst of the cells that say something: where rounding could explain any value, nothing was checked."""
    with np.errstate(all="ignore"):
        residual = np.abs(returned - exact)
        if not np.isfinite(residual).all():
            same = (returned == exact) | (np.isnan(returned) & np.isnan(exact))
            same |= np.isinf(returned) & (np.abs(exact) + bound >= torch.finfo(dtype).max)
            residual = np.where(same, 0.0, np.where(np.isnan(residual), np.inf, residual))
        known = np.isfinite(exact) & np.isfinite(bound)
        scale = math.sqrt(np.mean(np.square(exact[known]))) if known.any() else 0.0
        telling = known & (bound <= max(scale, 64 * _tiny(dtype)))  # where all is zero only underflow is left
    if not telling.any():
        return f"rounding alone could explain any value of {symbol}"
    residual, bound = residual[telling], bound[telling]
    with np.errstate(all="ignore"):  # whole numbers have a bound of 0
        worst = int(np.argmax(np.where(residual > 0, residual / bound, 0.0)))
    return Outcome(
        bool(residual[worst] <= bound[worst]), float(residual[worst]), float(bound[worst]), len(bound), symbol
    )


def _tiny(dtype: torch.dtype) -> float:
    """What underflow may cost, as the evaluator counts it."""
    if dtype in (torch.float16, torch.bfloat16):
        return 2.0**-24
    return torch.finfo(dtype).tiny if dtype.is_floating_point else 0.0
