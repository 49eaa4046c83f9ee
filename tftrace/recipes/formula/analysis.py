"""Analyses a formula by its named dimensions, before any number is read.

It infers the dimensions of each part, and those along which a cell of the result needs more than its own position."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from functools import lru_cache
from math import prod

from .functions import POSITION_FUNCTIONS, REDUCTIONS, argument_kinds
from .language import FormulaError
from .nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select, operands, walk

BATCH = "#"  # the dimension along which the same formula is evaluated for several steps at once

InferredDims = tuple[tuple[str, ...], set[str]]


def infer_dims(
    node: Node, dims_of: Mapping[str, tuple[str, ...]], known: dict[int, InferredDims] | None = None
) -> InferredDims:
    """Infer the dimensions of a node.

    Args:
        node: the expression.
        dims_of: the dimensions of each tensor.
        known: results by the id of a node; filled in, since an abbreviation may occur in many places.

    Returns:
        The dimensions of the result, and those along which one of its cells needs more than its own position.

    Raises:
        FormulaError: the dimensions do not fit.
    """
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = _infer_dims(node, dims_of, known)
    return known[id(node)]


def _infer_dims(node: Node, dims_of: Mapping[str, tuple[str, ...]], known: dict[int, InferredDims]) -> InferredDims:
    match node:
        case Number():
            return (), set()
        case Name(name):
            return dims_of.get(name, ()), set()
        case Negative(operand):
            return infer_dims(operand, dims_of, known)
        case Select(Name(name), dim, _):
            return tuple(d for d in dims_of.get(name, ()) if d != dim), {dim}
        case Lookup(Name(table), index):
            found, needed = infer_dims(index, dims_of, known)
            rows = dims_of.get(table, ())
            if not rows or set(found) & set(rows[1:]):
                raise FormulaError(f"rows of {table} cannot be looked up by ({' '.join(found)})")
            return found + rows[1:], needed | set(rows[:1])
        case Operation("@", left, right):
            (a, p), (b, q) = infer_dims(left, dims_of, known), infer_dims(right, dims_of, known)
            inner = inner_dim(a, b)
            return union(*(tuple(d for d in x if d != inner) for x in (a, b))), p | q | {inner}
        case Operation(_, left, right):
            (a, p), (b, q) = infer_dims(left, dims_of, known), infer_dims(right, dims_of, known)
            return union(a, b), p | q
        case Apply(function, arguments):
            given = zip(argument_kinds(function, len(arguments)) or "", arguments, strict=True)
            parts = [infer_dims(a, dims_of, known) for kind, a in given if kind == "x"]
            found, needed = result_dims(node, [p[0] for p in parts], dims_of)
            if len(set(found)) < len(found):
                raise FormulaError(f"{function}() gives a dimension twice: ({' '.join(found)}).")
            return found, needed.union(*(p[1] for p in parts))
    raise AssertionError(node)


def is_product(node: Node) -> bool:
    """Whether a node is a matrix product."""
    if isinstance(node, Operation):
        return node.operator == "@"
    return isinstance(node, Apply) and node.function == "dot"


def count_multiplications(node: Node, dims_of: Mapping[str, tuple[str, ...]], size: Callable[[str], int]) -> int:
    """Count the scalar multiplications in all matrix products of a node; `size` gives the length of a dimension."""
    wholes: dict[int, InferredDims] = {}
    count = 0
    for part in walk(node):
        if is_product(part):
            given = operands(part)
            count += prod(size(dim) for dim in union(*(infer_dims(x, dims_of, wholes)[0] for x in given)))
    return count


def result_dims(
    node: Apply, parts: Sequence[tuple[str, ...]], dims_of: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], set[str]]:
    """The dimensions of a function's result, and those along which it needs all positions.

    Args:
        node: the call.
        parts: the dimensions of each operand.
        dims_of: the dimensions of each tensor.
    """
    function, names = node.function, named_dims(node)
    found = parts[0] if parts else ()
    if function in REDUCTIONS:
        over = reduced_dims(function, names, found)
        return found if function == "softmax" else without(found, over), set(over)
    match function:
        case "T":
            return swapped(found), set()
        case "pos" | "causal":
            return names, set()
        case "window" | "unwindow" | "rename":
            return moved_dims(node, dims_of.get(base_tensor(node), ())), set()
        case "dot":
            both = union(*parts)
            over = reduced_dims(function, names, both)
            return without(both, over), set(over)
        case "cumsum" | "scan" | "roll" | "shift":
            both = union(*parts)
            return both, set(reduced_dims(function, names, both))
        case "topk":
            _need(function, names[:1], found)
            return tuple(names[1] if d == names[0] else d for d in found), set(names)
        case "gather":
            _need(function, names, found)
            return union(without(found, names), parts[1]), set(names)
        case "concat":
            rest, last = union(*(p[:-1] for p in parts)), {d for p in parts for d in p[-1:]}
            if not all(parts) or last & set(rest):
                raise FormulaError(
                    "concat() joins the last dimension of each, which no other may have before its last."
                )
            return (*rest, *names), {*names, *last}
        case "split_heads":
            _need(function, found[-1:] or names, found)
            return (*found[:-1], *names), {found[-1], *names}
        case "join_heads":
            _need(function, names[:2], found)
            return (*without(found, names[:2]), names[2]), set(names)
        case "rotate_half" | "rotate_pairs":
            _need(function, found[-1:] or ("?",), found)
            return found, {found[-1]}
    return union(*parts), set()


def named_dims(node: Apply) -> tuple[str, ...]:
    """The dimensions that a call has as arguments."""
    each = zip(argument_kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
    return tuple([a.id for kind, a in each if kind == "D" and isinstance(a, Name)])


def base_tensor(leaf: Node) -> str:
    """The tensor that a leaf reads; '' if it reads none."""
    match leaf:
        case Name(name) | Lookup(Name(name), _) | Select(Name(name), _, _):
            return name
        case Apply("window" | "unwindow" | "rename", (Name(name), *_)):
            return name
    return ""


def moved_dims(node: Apply, dims: tuple[str, ...]) -> tuple[str, ...]:
    """Dimensions after `rename`, or after `window` and `unwindow`, which split each dimension into two."""
    names, step = named_dims(node), 2 if node.function == "rename" else 3
    for at in range(0, len(names), step):
        _need(node.function, names[at : at + 1], dims)
        dims = tuple(n for d in dims for n in (names[at + 1 : at + step] if d == names[at] else (d,)))
    return dims


def without(dims: tuple[str, ...], names: Collection[str]) -> tuple[str, ...]:
    """The dimensions without those of these names."""
    return tuple([d for d in dims if d not in names])


@lru_cache(maxsize=4096)
def union(*dims: tuple[str, ...]) -> tuple[str, ...]:
    """All dimensions, each once, in the order of first occurrence."""
    return tuple(dict.fromkeys(d for part in dims for d in part))


def inner_dim(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """The dimension that `a @ b` sums over: the last of `a`, and the last but one (or only one) of `b`."""
    right = next(iter([d for d in b if d != BATCH][-2:]), None)
    if not a or a[-1] != right:
        raise FormulaError(f"'@' needs the last dimension of ({' '.join(a)}) as the last but one of ({' '.join(b)}).")
    return a[-1]


def swapped(dims: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions with the last two swapped."""
    if len(dims) < 2:
        raise FormulaError(f"T() needs two dimensions, not ({' '.join(dims)}).")
    return (*dims[:-2], dims[-1], dims[-2])


def reduced_dims(function: str, names: tuple[str, ...], dims: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions that a function reduces: those named, or else the last."""
    over = tuple(dict.fromkeys(names)) or dims[-1:] or ("",)
    _need(function, over, dims)
    return over


def _need(function: str, names: tuple[str, ...], dims: tuple[str, ...]) -> None:
    for name in names:
        if name not in dims:
            raise FormulaError(f"{function}() cannot run over {name or 'a scalar'!r}: there is ({' '.join(dims)}).")


def leaves(node: Node, tensors: Container[str]) -> list[Node]:
    """The parts of a node that are read from a step, not computed from other parts."""
    found: dict[Node, None] = {}
    waiting, seen = [node], {id(node)}  # visit an abbreviation once, however often it occurs
    while waiting:
        match at := waiting.pop():
            case Lookup() | Select():
                found[at] = None
            case Apply(function, _) if function in POSITION_FUNCTIONS:
                found[at] = None
            case Name(name):
                if name in tensors:
                    found[at] = None
            case _:
                fresh = {id(child): child for child in operands(at) if id(child) not in seen}
                seen.update(fresh)
                waiting += fresh.values()
    return list(found)
