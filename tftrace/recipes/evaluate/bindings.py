"""Finds the tensors that an equation's symbols stood for in a recorded step, from the rows of the trace alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.seen_tensors import seen_tensors
from ...trace.trace import Step, Trace
from ..format.recipe import Bind, Equation, Reference, parse
from ..formula import dims

_MOST_SEARCHED = 20_000  # steps below a call that are searched for the child calls named by a recipe

_ROLES = {"arg": schema.INPUT, "return": schema.OUTPUT, "param": schema.PARAMETER, "attr": schema.PARAMETER}


@dataclass(frozen=True)
class Bindings:
    """The sizes of the named dimensions, and the tensor that each symbol stood for."""

    dims: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, TensorRow] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # symbol -> names of its axes, `H·D` if one has two


def bindings_of(trace: Trace, position: int, equation: str) -> Bindings:
    """Find the dimensions and tensors of an equation on a step.

    Args:
        trace: the trace.
        position: position of the call.
        equation: id of the equation.

    Returns:
        The bindings; empty if the trace does not determine them.
    """
    data = trace.equation(equation)
    if data is None:
        return Bindings()
    try:
        recipe = parse(data, "meta.json")
    except (TraceError, TypeError, AttributeError):
        return Bindings()  # the trace may come from anyone; its recipe is then only displayed
    found = [_bind(trace[position], recipe, bind) for bind in recipe.binds]
    return max(found, key=lambda b: len(b.tensors), default=Bindings())


def _bind(step: Step, recipe: Equation, bind: Bind) -> Bindings:
    tensors: dict[str, TensorRow] = {}
    for symbol, binding in bind.symbols.items():
        if symbol not in recipe.dims:
            continue
        rows = (_row(step, source, recipe.id) for source in binding.sources if isinstance(source, Reference))
        row = next((r for r in rows if r is not None), None)
        if row is not None:
            tensors[symbol] = row
    for patterns in (recipe.dims, *(v.dims for v in recipe.variants)):
        try:
            sizes, layouts = dims.solve(patterns, {n: r.shape for n, r in tensors.items()})
        except TraceError:
            continue
        named = dict.fromkeys(name for p in patterns.values() for axis in p.axes for name in axis.names)
        axes = {n: tuple(_axis_name(names, sizes) for names in layout.axes) for n, layout in layouts.items()}
        return Bindings({n: sizes[n] for n in named if n in sizes and _is_shown(n, sizes[n], patterns)}, tensors, axes)
    return Bindings({}, tensors)


def _axis_name(names: tuple[str, ...] | None, sizes: Mapping[str, int]) -> str:
    """The name of an axis, `H·D` if it holds two dimensions; parts of size 1 and axes of a `*` are left out."""
    told = [n for n in names or () if not n.startswith(dims.STAR) and (sizes.get(n) != 1 or len(names or ()) == 1)]
    return "·".join(told)


def _is_shown(name: str, size: int, patterns: Mapping[str, dims.Pattern]) -> bool:
    """Whether a dimension is worth showing; axes of a `*`, and parts of size 1 such as G in (H G), are not."""
    shared = any(len(axis.names) > 1 and name in axis.names for p in patterns.values() for axis in p.axes)
    return not name.startswith(dims.STAR) and not (size == 1 and shared)


def _row(step: Step, reference: Reference, equation: str) -> TensorRow | None:
    """The row of the tensor that a reference in a recipe names, or None."""
    if reference.kind == schema.SEEN:
        return seen_tensors(step.trace, step.position, equation).get(str(reference.path[0]) if reference.path else "")
    at: Step | None = step
    path = list(reference.path)
    if reference.child is not None:
        at = next(_calls_below(step, reference.child), None)
    elif reference.kind == "param" and len(path) > 1:
        at = next(_calls_below(step, ".".join(map(str, path[:-1]))), None)
        path = path[-1:]
    role = _ROLES.get(reference.kind)
    if at is None or role is None:
        return None
    name = ""
    for key in path:
        name = f"{name}[{key}]" if isinstance(key, int) else f"{name}.{key}".lstrip(".")
    return next((row for row in at.tensors if row.role == role and row.name == name), None)


def _calls_below(step: Step, pattern: str) -> Iterator[Step]:
    """Yield the calls below a step whose path relative to its module matches a pattern, the last one first."""
    trace = step.trace
    argument_kinds, names = trace.column("kind"), trace.column("name")
    module = step.position
    while argument_kinds[module] != schema.MODULE and trace.parent(module) is not None:
        module = int(trace.parents[module])
    prefix = f"{names[module]}." if names[module] else ""
    end = min(int(trace.ends[step.position]), step.position + _MOST_SEARCHED)
    for at in range(end - 1, step.position, -1):
        path = names[at]
        if argument_kinds[at] in schema.CALLS and path.startswith(prefix) and fnmatchcase(path[len(prefix) :], pattern):
            yield trace[at]
