"""The syntax tree of a formula: its kinds of node, and functions that walk, change and print it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .functions import argument_kinds


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol, or the size of a dimension."""

    id: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A binary operation; `@` is the matrix product."""

    operator: str  # + - * / @ ** < > <= >= ==
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative:
    """A negated expression."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Apply:
    """A function applied to its arguments, some of which may be names of dimensions."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Rows of a tensor by index: `W[ids]`."""

    table: Name
    index: Node


@dataclass(frozen=True, slots=True)
class Select:
    """One position along a dimension of a tensor: `x[T=0]`."""

    base: Name
    dim: str
    index: int


Node = Number | Name | Operation | Negative | Apply | Lookup | Select


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and its descendants, parents first; a node that occurs several times comes once."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += children(node)


def children(node: Node) -> tuple[Node, ...]:
    """The direct children of a node."""
    match node:
        case Operation(_, left, right):
            return left, right
        case Negative(operand):
            return (operand,)
        case Apply(_, arguments):
            return arguments
        case Lookup(table, index):
            return table, index
        case Select(base):
            return (base,)
    return ()


def operands(node: Node) -> tuple[Node, ...]:
    """The direct children that are evaluated, so neither names of dimensions nor words."""
    if isinstance(node, Apply):
        each = zip(argument_kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
        return tuple([a for kind, a in each if kind in "xn"])
    return children(node)


def transform(node: Node, change: Callable[[Node], Node], known: dict[int, Node] | None = None) -> Node:
    """Apply `change` to each part of a node, from the leaves up; `known` holds the results by id of the part."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = change(_with_operands(node, lambda part: transform(part, change, known)))
    return known[id(node)]


def inline(node: Node, lets: Mapping[str, Node]) -> Node:
    """Substitute abbreviations by their definitions."""
    return transform(node, lambda part: lets.get(part.id, part) if isinstance(part, Name) else part)


def _with_operands(node: Node, of: Callable[[Node], Node]) -> Node:
    """The node with `of` applied to its operands; names of dimensions, tables and words stay."""
    match node:
        case Negative(operand):
            return Negative(of(operand))
        case Operation(operator, left, right):
            return Operation(operator, of(left), of(right))
        case Apply(function, arguments):
            each = zip(argument_kinds(function, len(arguments)) or "", arguments, strict=True)
            return Apply(function, tuple([of(a) if kind in "xn" else a for kind, a in each]))
        case Lookup(table, index):
            return Lookup(table, of(index))
    return node


def height(node: Node, defined: Mapping[str, int]) -> int:
    """The depth of a node's tree; `defined` has the depth of each abbreviation."""
    heights: dict[int, int] = {}
    waiting = [node]
    while waiting:
        at = waiting[-1]
        below = children(at)
        if open_ones := [child for child in below if id(child) not in heights]:
            waiting += open_ones
            continue
        highest = max((heights[id(child)] for child in below), default=0)
        heights[id(at)] = defined.get(at.id, 1) if isinstance(at, Name) else 1 + highest
        waiting.pop()
    return heights[id(node)]


def to_text(node: Node, longest: int = 60) -> str:
    """Write a node as text, cut off with an ellipsis after `longest` characters."""
    text = _to_text(node, 0, [4 * longest])
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_BINDS = {"<": 1, ">": 1, "<=": 1, ">=": 1, "==": 1, "+": 2, "-": 2, "*": 3, "/": 3, "@": 3, "**": 5}


def _to_text(node: Node, around: int, left: list[int]) -> str:
    left[0] -= 1  # a limit on nodes, since an abbreviation may occur in many places
    if left[0] < 0:
        return "…"
    match node:
        case Number(value):
            return f"{value:.10g}"
        case Name(name):
            return name
        case Negative(operand):
            return f"-{_to_text(operand, 4, left)}"
        case Operation(operator, first, second):
            own = _BINDS[operator]
            text = f"{_to_text(first, own, left)} {operator} {_to_text(second, own + 1, left)}"
            return f"({text})" if own < around else text
        case Apply(function, arguments):
            return f"{function}({', '.join(_to_text(a, 0, left) for a in arguments)})"
        case Lookup(table, index):
            return f"{table.id}[{_to_text(index, 0, left)}]"
        case Select(base, dim, index):
            return f"{base.id}[{dim}={index}]"
    raise AssertionError(node)
