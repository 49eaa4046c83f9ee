"""A formula once parsed: the few kinds of node it is made of, and how they are walked through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .functions import kinds


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Name:
    id: str


@dataclass(frozen=True, slots=True)
class Operation:
    operator: str  # + - * / @ ** < > <= >= ==
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node


@dataclass(frozen=True, slots=True)
class Apply:
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    table: Name
    index: Node


@dataclass(frozen=True, slots=True)
class Select:
    base: Name
    dim: str
    index: int


Node = Number | Name | Operation | Negative | Apply | Lookup | Select


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it, each before what is below it; what stands in several places comes once."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += children(node)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below a node."""
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


def expressions(node: Node) -> tuple[Node, ...]:
    """The nodes directly below that are computed: not names of dimensions, nor words."""
    if isinstance(node, Apply):
        each = zip(kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
        return tuple([a for kind, a in each if kind in "xn"])
    return children(node)


def replaced(node: Node, change: Callable[[Node], Node], known: dict[int, Node] | None = None) -> Node:
    """A node in which each part was changed, from the leaves up; what is `known` of parts by their id is kept."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = change(_rebuilt(node, lambda part: replaced(part, change, known)))
    return known[id(node)]


def inline(node: Node, lets: Mapping[str, Node]) -> Node:
    """A node with abbreviations put in their place."""
    return replaced(node, lambda part: lets.get(part.id, part) if isinstance(part, Name) else part)


def _rebuilt(node: Node, of: Callable[[Node], Node]) -> Node:
    """A node with other expressions in it; names of dimensions, tables and words stay."""
    match node:
        case Negative(operand):
            return Negative(of(operand))
        case Operation(operator, left, right):
            return Operation(operator, of(left), of(right))
        case Apply(function, arguments):
            each = zip(kinds(function, len(arguments)) or "", arguments, strict=True)
            return Apply(function, tuple([of(a) if kind in "xn" else a for kind, a in each]))
        case Lookup(table, index):
            return Lookup(table, of(index))
    return node


def height(node: Node, defined: Mapping[str, int]) -> int:
    """How many operations lie on top of each other, where names stand for what is `defined`."""
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


def written(node: Node, longest: int = 60) -> str:
    """A node as text; what is longer than that ends in an ellipsis."""
    text = _written(node, 0, [4 * longest])
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_BINDS = {"<": 1, ">": 1, "<=": 1, ">=": 1, "==": 1, "+": 2, "-": 2, "*": 3, "/": 3, "@": 3, "**": 5}


def _written(node: Node, around: int, left: list[int]) -> str:
    left[0] -= 1  # an abbreviation stands in many places: only so much is written out
    if left[0] < 0:
        return "…"
    match node:
        case Number(value):
            return f"{value:.10g}"
        case Name(name):
            return name
        case Negative(operand):
            return f"-{_written(operand, 4, left)}"
        case Operation(operator, first, second):
            own = _BINDS[operator]
            text = f"{_written(first, own, left)} {operator} {_written(second, own + 1, left)}"
            return f"({text})" if own < around else text
        case Apply(function, arguments):
            return f"{function}({', '.join(_written(a, 0, left) for a in arguments)})"
        case Lookup(table, index):
            return f"{table.id}[{_written(index, 0, left)}]"
        case Select(base, dim, index):
            return f"{base.id}[{dim}={index}]"
    raise AssertionError(node)
