"""The spot check: a few seeded cells of a step's result, recomputed in float64 from what the step really used.

The named dimensions tell which dimensions of the result are independent; along those a few positions are drawn and
only these slices of the inputs are read, so that the cost does not grow with the tensors."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import torch

from .. import schema
from ..errors import TraceError
from ..recipes import dims as named
from ..recipes.evaluate import Array, Evaluator, Value, constant, inline, reorder, whole_dims
from ..recipes.formula import Formula, Node
from ..recipes.recipe import Binding, Library, Match, Reference
from ..writer import TraceWriter
from .calls import Call

_DRAWN = 2  # positions along an independent dimension …
_DRAWN_LAST = 4  # … and along the last one
_UNIT = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}  # unit roundoff


class Unbound(Exception):
    """The equation cannot be checked on this step; the message says why."""


class Outcome(NamedTuple):
    """The worst cell of a check."""

    holds: bool
    residual: float
    bound: float
    cells: int
    symbol: str


class Checker:
    """Finds the equations of each call and checks them when it returns."""

    def __init__(self, library: Library, writer: TraceWriter, seed: int = 0) -> None:
        self._library, self._writer, self._seed = library, writer, seed
        self._rows: list[tuple[Any, ...]] = []

    def begin(self, call: Call) -> None:
        """Find the call's equations, and note what must be kept for them."""
        kind = type(call.owner)
        found = (
            self._library.for_module(kind)
            if call.kind is schema.MODULE
            else self._library.for_function(call.type, kind)
        )
        call.equations = tuple(m for m in found if _applies(m, call))
        if any(m.children for m in call.equations):
            call.seen = {}
        for match in call.equations:
            self._writer.meta["equations"].setdefault(match.equation.id, match.equation.data)

    def finish(self, call: Call) -> None:
        """Check the call's equations; the verdicts wait for `verdicts`."""
        for match in call.equations:
            with torch.no_grad():
                self._rows.append((call.step, match.equation.id, *self._verdict(match, call)))

    def verdicts(self) -> list[tuple[Any, ...]]:
        """Rows of the checks table since the last time."""
        rows, self._rows = self._rows, []
        return rows

    def _verdict(self, match: Match, call: Call) -> tuple[Any, ...]:
        equation = match.equation
        try:
            for reference in match.bind.random:
                if amount := _find(reference, call):
                    raise Unbound(f"random: {reference.source} is {amount}")
            symbols = {name: _resolve(name, binding, call) for name, binding in match.bind.symbols.items()}
            outcome = self._run(equation.formula, equation.dims, symbols, call.step)
            if outcome.holds:
                return schema.HOLDS, outcome.residual, outcome.bound, outcome.cells, None, None
            for variant in equation.variants:
                try:
                    if self._run(variant.formula, variant.dims, symbols, call.step).holds:
                        break
                except (Unbound, TraceError):
                    continue
            else:
                variant = None
            reason = f"{outcome.symbol} is not what the equation gives"
            name = None if variant is None else variant.name
            return schema.DIFFERS, outcome.residual, outcome.bound, outcome.cells, name, reason
        except (Unbound, TraceError) as error:
            return schema.UNCHECKED, None, None, 0, None, str(error).rstrip(".")

    def _run(
        self, formula: Formula, patterns: Mapping[str, named.Pattern], symbols: dict[str, Any], step: int
    ) -> Outcome:
        """Check every statement whose symbol is bound; the others are abbreviations."""
        used = formula.names | {name for name, _ in formula.statements}
        tensors = {n: v for n, v in symbols.items() if isinstance(v, torch.Tensor) and n in used}
        for name, tensor in tensors.items():
            if name not in patterns:
                raise Unbound(f"{name} is a tensor and has no named dimensions in the recipe")
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
                raise Unbound(f"{name} is a tensor whose numbers cannot be read ({tensor.dtype}, {tensor.layout})")
            if tensor.numel() == 0:
                raise Unbound(f"{name} is empty")
        numbers = {n: float(v) for n, v in symbols.items() if isinstance(v, (bool, int, float))}
        named_dims = {d for p in patterns.values() for a in p.axes for d in a.names}
        known = {n: int(v) for n, v in numbers.items() if n in named_dims}
        sizes, layouts = named.solve(patterns, {n: tuple(t.shape) for n, t in tensors.items()}, known)
        given = {n for n, v in symbols.items() if v is not None}
        missing = formula.names - given - set(sizes) - {name for name, _ in formula.statements}
        lets: dict[str, Node] = {}
        outcomes = []
        for symbol, body in formula.statements:
            body = inline(body, lets)
            if symbol not in tensors:
                lets[symbol] = body
                continue
            if missing:
                raise Unbound(f"{sorted(missing)[0]} is not known here")
            run = _Run(tensors, numbers, layouts, sizes)
            outcomes.append(run.check(symbol, body, random.Random(f"{self._seed}/{step}/{symbol}")))
        if not outcomes:
            raise Unbound("its result was not seen at this level")
        failed = [o for o in outcomes if not o.holds]
        worst = max(failed or outcomes, key=lambda o: o.residual / o.bound if o.bound else o.residual)
        return worst._replace(cells=sum(o.cells for o in outcomes))


class _Run:
    """The symbols of one statement, read on the drawn cells."""

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        numbers: Mapping[str, float],
        layouts: Mapping[str, named.Layout],
        sizes: Mapping[str, int],
    ) -> None:
        self._tensors, self._numbers, self._layouts, self._sizes = tensors, numbers, layouts, sizes
        self._drawn: dict[str, list[int]] = {}
        self._unit = 0.0
        self._values: dict[str, Value] = {}

    def check(self, symbol: str, body: Node, draw: random.Random) -> Outcome:
        """Compare a few cells of `symbol` with the expression."""
        target, layout = self._tensors[symbol], self._layouts[symbol]
        _, whole = whole_dims(body, {n: layout.names for n, layout in self._layouts.items()})
        independent = [d for d in layout.names if d not in whole]
        for dim in independent:
            most = _DRAWN_LAST if dim == independent[-1] else _DRAWN
            size = self._sizes[dim]
            self._drawn[dim] = sorted(draw.sample(range(size), most)) if size > most else list(range(size))
        self._unit, sum_unit = self._units(target)
        result = Evaluator(self, self._unit, sum_unit).evaluate(body)
        returned = self._slice(target, layout)
        result = reorder(result, layout.names, returned.shape)
        bound = result.e + _UNIT.get(target.dtype, 0.0) * np.abs(result.v) + _tiny(target.dtype)
        return _compare(symbol, returned.astype(np.float64), result.v, bound, target.dtype)

    def _units(self, target: torch.Tensor) -> tuple[float, float]:
        """Unit roundoff of single operations and of sums: the coarsest dtype that took part, and for sums of half
        precision float32, in which every backend accumulates them."""
        kinds = {t.dtype for t in (*self._tensors.values(), target) if t.is_floating_point()}
        units = [_UNIT[k] for k in kinds if k in _UNIT]
        if len(units) < len(kinds):
            raise Unbound(f"there is no rounding bound for {', '.join(str(k) for k in kinds if k not in _UNIT)}")
        unit = max(units, default=2.0**-24)
        fast = target.dtype is torch.float32 and torch.get_float32_matmul_precision() != "highest"
        return (2.0**-8, 2.0**-24) if fast else (unit, min(unit, 2.0**-24))

    def _slice(self, tensor: torch.Tensor, layout: named.Layout) -> Array:
        part = tensor.detach()
        for axis in reversed(range(len(layout.axes))):
            names = layout.axes[axis]
            if names is None:
                part = part.select(axis, 0)
            elif len(names) > 1:
                part = part.unflatten(axis, [self._sizes[n] for n in names])  # type: ignore[no-untyped-call]
        for axis, name in enumerate(layout.names):
            at = self._drawn.get(name)
            if at is not None and len(at) < part.shape[axis]:
                part = part.index_select(axis, torch.tensor(at, device=part.device))
        return _numpy(part)

    def _read(self, tensor: torch.Tensor, layout: named.Layout) -> Value:
        """The drawn cells, with the rounding of a cast where the run computed in a coarser dtype (autocast)."""
        found = self._slice(tensor, layout)
        cast = self._unit if tensor.is_floating_point() and _UNIT[tensor.dtype] < self._unit else 0.0
        return Value(layout.names, found, cast * np.abs(found, dtype=np.float64) if cast else np.zeros(found.shape))

    # -- what the evaluator asks for ---------------------------------------------------------------

    def value(self, name: str) -> Value | None:
        if name in self._numbers:
            return constant(self._numbers[name])
        if name not in self._tensors:
            return None
        if name not in self._values:
            layout = self._layouts[name]
            self._values[name] = self._read(self._tensors[name], layout)
        return self._values[name]

    def lookup(self, table: str, index: Value) -> Value:
        tensor, layout = self._tensors[table], self._layouts[table]
        rows = torch.from_numpy(index.v.astype(np.int64)).to(tensor.device)
        part = tensor.detach().index_select(0, rows.reshape(-1)).reshape(*rows.shape, *tensor.shape[1:])
        for axis, name in enumerate(layout.names[1:], start=rows.dim()):
            at = self._drawn.get(name)
            if at is not None and len(at) < part.shape[axis]:
                part = part.index_select(axis, torch.tensor(at, device=part.device))
        found = _numpy(part)
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
        kept = named.Layout((*before, *rest, *after))
        return self._read(tensor.select(axis, index), kept)

    def positions(self, dim: str) -> Array:
        return np.asarray(self._drawn.get(dim, range(self._sizes[dim])))

    def size(self, dim: str) -> int:
        return self._sizes[dim]


def _compare(symbol: str, returned: Array, exact: Array, bound: Array, dtype: torch.dtype) -> Outcome:
    """The worst of the cells that say something: where rounding could explain any value, nothing was checked."""
    with np.errstate(all="ignore"):
        same = (returned == exact) | (np.isnan(returned) & np.isnan(exact))
        if dtype.is_floating_point:
            same |= np.isinf(returned) & (np.abs(exact) + bound >= torch.finfo(dtype).max)
        residual = np.where(same, 0.0, np.abs(returned - exact))
        residual = np.where(np.isnan(residual), np.inf, residual)
        bound = np.where(np.isnan(bound), np.inf, bound)
        finite = exact[np.isfinite(exact)]
        scale = float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
        telling = (bound <= max(scale, float(np.min(bound, initial=np.inf)))) & np.isfinite(bound)
    if not telling.any() or not np.isfinite(exact[telling]).any():
        raise Unbound(f"rounding alone could explain any value of {symbol}")
    residual, bound = residual[telling], bound[telling]
    worst = int(np.argmax(residual / bound))
    holds = bool((residual <= bound).all())
    return Outcome(holds, float(residual[worst]), float(bound[worst]), int(telling.sum()), symbol)


def _numpy(tensor: torch.Tensor) -> Array:
    tensor = tensor.cpu()
    found: Array = tensor.numpy() if tensor.dtype is torch.bool else tensor.to(torch.float64).numpy()
    return found


def _tiny(dtype: torch.dtype) -> float:
    """What flushing a subnormal to zero may cost."""
    return torch.finfo(dtype).tiny if dtype.is_floating_point else 0.0


# -- from a reference to a value --------------------------------------------------------------------


def _applies(match: Match, call: Call) -> bool:
    return all(_find(reference, call) == value for reference, value in match.bind.when)


def _resolve(name: str, binding: Binding, call: Call) -> Any:
    """A symbol's tensor or number; None where it is optional and absent."""
    for source in binding.sources:
        value = source if isinstance(source, float) else _find(source, call)
        if value is not None:
            if not isinstance(value, (torch.Tensor, bool, int, float)):
                raise Unbound(f"{name} is a {type(value).__name__}, neither tensor nor number")
            return value
    if binding.optional:
        return None
    wanted = " | ".join(s.source for s in binding.sources if isinstance(s, Reference))
    raise Unbound(f"{name} was not there ({wanted})")


def _find(reference: Reference, call: Call) -> Any:
    """What a reference names, or None. Nothing is called on the way: only plain attributes and items are read."""
    at: Call | None = call
    if reference.child is not None:
        found = [c for name, c in (call.seen or {}).items() if fnmatchcase(name, reference.child)]
        if not found:
            return None
        at = found[-1]
    assert at is not None
    match reference.kind:
        case "arg":
            start: Any = at.arguments
        case "return":
            start = at.result
        case "local":
            start = at.values
        case "config":
            while at is not None and _static(at.owner, "config") is None:
                at = at.parent
            start = None if at is None else _static(at.owner, "config")
        case _:  # param, attr
            start = at.owner
    for key in reference.path:
        start = _item(start, key)
    if isinstance(start, torch.Tensor) and _changed(start, call, at):
        raise Unbound(f"{reference.source} was changed in place before the step ended")
    return start


def _item(value: Any, key: str | int) -> Any:
    if isinstance(key, int):
        indexable = isinstance(value, (list, tuple)) or (isinstance(value, torch.Tensor) and value.dim() > 0)
        return value[key] if indexable and key < len(value) else None
    if isinstance(value, Mapping):
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
    found = inspect.getattr_static(value, name, None)
    return None if hasattr(type(found), "__get__") else found


def _changed(tensor: torch.Tensor, *calls: Call | None) -> bool:
    noted = (c.versions[id(tensor)] for c in calls if c is not None and id(tensor) in c.versions)
    return any(version != tensor._version for version in noted)
