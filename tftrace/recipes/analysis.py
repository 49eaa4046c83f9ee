"""What the named dimensions say of a formula before any number is read: which dimensions each part has, and along
which of them a cell of the result needs more than its own position."""

from __future__ import annotations

from collections.abc import Container, Mapping

from .formula import Apply, FormulaError, Lookup, Name, Negative, Node, Number, Operation, Select, children

REDUCTIONS = {"softmax", "sum", "mean", "var"}
BATCH = "#"  # the dimension along which the same formula is evaluated for several steps at once

Whole = tuple[tuple[str, ...], set[str]]


def whole_dims(node: Node, dims_of: Mapping[str, tuple[str, ...]], known: dict[int, Whole] | None = None) -> Whole:
    """The dimensions of a node's result, and those along which a cell needs more than its own position.

    What is `known` of nodes by their id is not asked again: an abbreviation stands in many places."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = _whole_dims(node, dims_of, known)
    return known[id(node)]


def _whole_dims(node: Node, dims_of: Mapping[str, tuple[str, ...]], known: dict[int, Whole]) -> Whole:
    match node:
        case Number():
            return (), set()
        case Name(name):
            return dims_of.get(name, ()), set()
        case Negative(operand):
            return whole_dims(operand, dims_of, known)
        case Select(Name(name), dim, _):
            return tuple(d for d in dims_of.get(name, ()) if d != dim), {dim}
        case Lookup(Name(table), index):
            found, needed = whole_dims(index, dims_of, known)
            rows = dims_of.get(table, ())
            if not rows or set(found) & set(rows[1:]):
                raise FormulaError(f"rows of {table} cannot be looked up by ({' '.join(found)})")
            return found + rows[1:], needed | set(rows[:1])
        case Operation("@", left, right):
            (a, p), (b, q) = whole_dims(left, dims_of, known), whole_dims(right, dims_of, known)
            inner = inner_dim(a, b)
            return union(*(tuple(d for d in x if d != inner) for x in (a, b))), p | q | {inner}
        case Operation(_, left, right):
            (a, p), (b, q) = whole_dims(left, dims_of, known), whole_dims(right, dims_of, known)
            return union(a, b), p | q
        case Apply("T", (only,)):
            found, needed = whole_dims(only, dims_of, known)
            return swapped(found), needed
        case Apply("pos", (Name(dim),)):
            return (dim,), set()
        case Apply("causal", (Name(query), Name(key))):
            return (query, key), set()
        case Apply(function, arguments) if function in REDUCTIONS:
            found, needed = whole_dims(arguments[0], dims_of, known)
            dim = reduced_dim(function, arguments, found)
            kept = found if function == "softmax" else tuple(d for d in found if d != dim)
            return kept, needed | {dim}
        case Apply(_, arguments):
            parts = [whole_dims(a, dims_of, known) for a in arguments]
            return union(*(p[0] for p in parts)), set().union(*(p[1] for p in parts))
    raise AssertionError(node)


def union(*dims: tuple[str, ...]) -> tuple[str, ...]:
    """All dimensions, each where it first stands."""
    return tuple(dict.fromkeys(d for part in dims for d in part))


def inner_dim(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """The dimension that `a @ b` sums over: the last of `a`, and the last but one (or only one) of `b`."""
    right = next(iter([d for d in b if d != BATCH][-2:]), None)
    if not a or a[-1] != right:
        raise FormulaError(f"'@' needs the last dimension of ({' '.join(a)}) as the last but one of ({' '.join(b)}).")
    return a[-1]


def swapped(dims: tuple[str, ...]) -> tuple[str, ...]:
    """The last two dimensions the other way round."""
    if len(dims) < 2:
        raise FormulaError(f"T() needs two dimensions, not ({' '.join(dims)}).")
    return (*dims[:-2], dims[-1], dims[-2])


def reduced_dim(function: str, arguments: tuple[Node, ...], dims: tuple[str, ...]) -> str:
    """The dimension that a reduction runs over: the one named, or the last."""
    dim = arguments[1].id if len(arguments) > 1 and isinstance(arguments[1], Name) else dims[-1] if dims else ""
    if dim not in dims:
        raise FormulaError(f"{function}() cannot run over {dim or 'a scalar'!r}: there is ({' '.join(dims)}).")
    return dim


def leaves(node: Node, tensors: Container[str]) -> list[Node]:
    """The parts of a node that are read from a step rather than computed from other parts."""
    found: dict[Node, None] = {}
    waiting, seen = [node], {id(node)}  # an abbreviation stands in many places, and is looked at once
    while waiting:
        match at := waiting.pop():
            case Lookup() | Select() | Apply("pos" | "causal", _):
                found[at] = None
            case Name(name):
                if name in tensors:
                    found[at] = None
            case _:
                fresh = {id(child): child for child in children(at) if id(child) not in seen}
                seen.update(fresh)
                waiting += fresh.values()
    return list(found)


def inline(node: Node, lets: Mapping[str, Node]) -> Node:
    """A node with abbreviations put in their place."""
    match node:
        case Name(name):
            return lets.get(name, node)
        case Negative(operand):
            return Negative(inline(operand, lets))
        case Operation(operator, left, right):
            return Operation(operator, inline(left, lets), inline(right, lets))
        case Apply(function, arguments):
            return Apply(function, tuple(inline(a, lets) for a in arguments))
        case Lookup(table, index):
            return Lookup(table, inline(index, lets))
    return node
