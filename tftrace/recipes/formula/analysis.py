"""What the named dimensions say of a formula before any number is read: which dimensions each part has, and along
which of them a cell of the result needs more than its own position."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from math import prod

from .functions import PLACES, REDUCTIONS, kinds
from .language import FormulaError
from .nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select, expressions, walk

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
        case Apply(function, arguments):
            given = zip(kinds(function, len(arguments)) or "", arguments, strict=True)
            parts = [whole_dims(a, dims_of, known) for kind, a in given if kind == "x"]
            found, needed = result_dims(node, [p[0] for p in parts], dims_of)
            if len(set(found)) < len(found):
                raise FormulaError(f"{function}() gives a dimension twice: ({' '.join(found)}).")
            return found, needed.union(*(p[1] for p in parts))
    raise AssertionError(node)


def is_product(node: Node) -> bool:
    """Whether this is a product of matrices."""
    if isinstance(node, Operation):
        return node.operator == "@"
    return isinstance(node, Apply) and node.function == "dot"


def products(node: Node, dims_of: Mapping[str, tuple[str, ...]], size: Callable[[str], int]) -> int:
    """How many numbers are multiplied with each other in all products of matrices below a node, where `size` says how
    many positions there are of a dimension."""
    wholes: dict[int, Whole] = {}
    count = 0
    for part in walk(node):
        if is_product(part):
            given = expressions(part)
            count += prod(size(dim) for dim in union(*(whole_dims(x, dims_of, wholes)[0] for x in given)))
    return count


def result_dims(
    node: Apply, parts: Sequence[tuple[str, ...]], dims_of: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], set[str]]:
    """What a function makes of the dimensions of its expressions, and along which of them it needs all positions."""
    function, names = node.function, named(node)
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
            return moved_dims(node, dims_of.get(base(node), ())), set()
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


def named(node: Apply) -> tuple[str, ...]:
    """The dimensions that a call names."""
    each = zip(kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
    return tuple([a.id for kind, a in each if kind == "D" and isinstance(a, Name)])


def base(leaf: Node) -> str:
    """The tensor that a leaf reads."""
    match leaf:
        case Name(name) | Lookup(Name(name), _) | Select(Name(name), _, _):
            return name
        case Apply("window" | "unwindow" | "rename", (Name(name), *_)):
            return name
    return ""


def moved_dims(node: Apply, dims: tuple[str, ...]) -> tuple[str, ...]:
    """Dimensions after `rename`, and after `window` and `unwindow`, which take each one apart into two."""
    names, step = named(node), 2 if node.function == "rename" else 3
    for at in range(0, len(names), step):
        _need(node.function, names[at : at + 1], dims)
        dims = tuple(n for d in dims for n in (names[at + 1 : at + step] if d == names[at] else (d,)))
    return dims


def without(dims: tuple[str, ...], names: Collection[str]) -> tuple[str, ...]:
    """The dimensions that are left."""
    return tuple([d for d in dims if d not in names])


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


def reduced_dims(function: str, names: tuple[str, ...], dims: tuple[str, ...]) -> tuple[str, ...]:
    """The dimensions that a function runs over: those named, or the last."""
    over = tuple(dict.fromkeys(names)) or dims[-1:] or ("",)
    _need(function, over, dims)
    return over


def _need(function: str, names: tuple[str, ...], dims: tuple[str, ...]) -> None:
    for name in names:
        if name not in dims:
            raise FormulaError(f"{function}() cannot run over {name or 'a scalar'!r}: there is ({' '.join(dims)}).")


def leaves(node: Node, tensors: Container[str]) -> list[Node]:
    """The parts of a node that are read from a step rather than computed from other parts."""
    found: dict[Node, None] = {}
    waiting, seen = [node], {id(node)}  # an abbreviation stands in many places, and is looked at once
    while waiting:
        match at := waiting.pop():
            case Lookup() | Select():
                found[at] = None
            case Apply(function, _) if function in PLACES:
                found[at] = None
            case Name(name):
                if name in tensors:
                    found[at] = None
            case _:
                fresh = {id(child): child for child in expressions(at) if id(child) not in seen}
                seen.update(fresh)
                waiting += fresh.values()
    return list(found)
