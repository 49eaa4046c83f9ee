"""What an equation's symbols were in a recorded step, found again from the trace's rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Step, Trace
from ..format.recipe import Bind, Equation, Reference, parse
from ..formula import dims

_FAR = 20_000  # steps below a call that are searched for the calls that a recipe names

_ROLES = {"arg": schema.INPUT, "return": schema.OUTPUT, "param": schema.PARAMETER, "attr": schema.PARAMETER}


@dataclass(frozen=True)
class Bound:
    """Sizes of the named dimensions, and the tensor each symbol stood for."""

    dims: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, TensorRow] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # symbol -> a name an axis, `H·D` where it holds two


def bound(trace: Trace, position: int, equation: str) -> Bound:
    """The dimensions and tensors of `equation` on the call at `position`; empty where the trace does not tell."""
    data = trace.equation(equation)
    if data is None:
        return Bound()
    try:
        recipe = parse(data, "meta.json")
    except (TraceError, TypeError, AttributeError):
        return Bound()  # the trace may be a stranger's: its recipe is only shown
    found = [_bound(trace[position], recipe, bind) for bind in recipe.binds]
    return max(found, key=lambda b: len(b.tensors), default=Bound())


def _bound(step: Step, recipe: Equation, bind: Bind) -> Bound:
    tensors: dict[str, TensorRow] = {}
    for symbol, binding in bind.symbols.items():
        if symbol not in recipe.dims:
            continue
        rows = (_row(step, source) for source in binding.sources if isinstance(source, Reference))
        row = next((r for r in rows if r is not None), None)
        if row is not None:
            tensors[symbol] = row
    for patterns in (recipe.dims, *(v.dims for v in recipe.variants)):
        try:
            sizes, layouts = dims.solve(patterns, {n: r.shape for n, r in tensors.items()})
        except TraceError:
            continue
        named = dict.fromkeys(name for p in patterns.values() for axis in p.axes for name in axis.names)
        axes = {n: tuple(_axis(names, sizes) for names in layout.axes) for n, layout in layouts.items()}
        return Bound({n: sizes[n] for n in named if n in sizes and _telling(n, sizes[n], patterns)}, tensors, axes)
    return Bound({}, tensors)


def _axis(names: tuple[str, ...] | None, sizes: Mapping[str, int]) -> str:
    """`H·D` for an axis that holds two dimensions, without parts of size 1 and without the names of a `*`."""
    told = [n for n in names or () if not n.startswith(dims.STAR) and (sizes.get(n) != 1 or len(names or ()) == 1)]
    return "·".join(told)


def _telling(name: str, size: int, patterns: Mapping[str, dims.Pattern]) -> bool:
    """Not the axes of a `*`, nor a part of size 1 of a shared axis, such as G in (H G) where heads share nothing."""
    shared = any(len(axis.names) > 1 and name in axis.names for p in patterns.values() for axis in p.axes)
    return not name.startswith(dims.STAR) and not (size == 1 and shared)


def _row(step: Step, reference: Reference) -> TensorRow | None:
    """The row of the tensor that a reference names."""
    at: Step | None = step
    path = list(reference.path)
    if reference.child is not None:
        at = next(_below(step, reference.child), None)
    elif reference.kind == "param" and len(path) > 1:
        at = next(_below(step, ".".join(map(str, path[:-1]))), None)
        path = path[-1:]
    role = _ROLES.get(reference.kind)
    if at is None or role is None:
        return None
    name = ""
    for key in path:
        name = f"{name}[{key}]" if isinstance(key, int) else f"{name}.{key}".lstrip(".")
    return next((row for row in at.tensors if row.role == role and row.name == name), None)


def _below(step: Step, pattern: str) -> Iterator[Step]:
    """The calls below a step whose path, from the step's module on, fits a pattern; the last one first."""
    trace = step.trace
    kinds, names = trace.column("kind"), trace.column("name")
    module = step.position
    while kinds[module] != schema.MODULE and trace.parent(module) is not None:
        module = int(trace.parents[module])
    prefix = f"{names[module]}." if names[module] else ""
    end = min(int(trace.ends[step.position]), step.position + _FAR)
    for at in range(end - 1, step.position, -1):
        path = names[at]
        if kinds[at] in schema.CALLS and path.startswith(prefix) and fnmatchcase(path[len(prefix) :], pattern):
            yield trace[at]
