"""What can be settled about a check before any number is read: sizes, layouts, and which dimensions a few cells of
the result can be drawn along. It depends on shapes only, so a module called again reuses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from operator import eq, ge, gt, le, lt

from ..formula import dims
from ..formula.analysis import base, is_product, leaves, named, whole_dims
from ..formula.functions import ACTIVATIONS, EXPANSIONS, PLACES, REDUCTIONS
from ..formula.language import Formula, FormulaError, expand
from ..formula.nodes import Apply, Lookup, Name, Node, Number, Operation, Select, inline, replaced, walk

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Numbers = tuple[tuple[str, float | str], ...]  # what a configuration says in words stands among them


@dataclass(frozen=True, slots=True)
class Statement:
    """One symbol to compare with its expression, abbreviations put in their place."""

    symbol: str
    body: Node
    independent: tuple[str, ...]  # dimensions of the symbol along which a cell needs only its own position
    products: bool  # whether there is a matrix product in it
    windows: bool  # whether it is a convolution
    leaves: tuple[Node, ...]  # what of it is read from the step


@dataclass(frozen=True, slots=True)
class Plan:
    """A formula fitted to the shapes of one step."""

    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    statements: tuple[Statement, ...]
    lets: Mapping[str, Node]  # abbreviations, others put in their place


def make(formula: Formula, patterns: Mapping[str, dims.Pattern], shapes: Shapes, numbers: Numbers) -> Plan:
    """Fit a formula to tensors of these shapes and to these numbers; raises TraceError with the reason it cannot be."""
    for symbol, _ in shapes:
        if symbol not in patterns:
            raise FormulaError(f"{symbol} is a tensor and has no named dimensions in the recipe")
    declared = {name for pattern in patterns.values() for axis in pattern.axes for name in axis.names}
    declared |= {
        n for _, body in formula.statements for node in walk(body) if isinstance(node, Apply) for n in named(node)
    }
    known = {n: int(v) for n, v in numbers if n in declared and not isinstance(v, str) and isfinite(v)}
    sizes, layouts = dims.solve(patterns, dict(shapes), known)
    names = {symbol: layout.names for symbol, layout in layouts.items()}
    words = {name: value for name, value in numbers if isinstance(value, str)}
    values = {name: value for name, value in numbers if isinstance(value, float)}
    numbered = {name for name, _ in numbers} - set(words)

    def settled(body: Node) -> Node:
        return replaced(body, lambda node: _settled(node, values))

    optional = {n for p in patterns.values() for a in p.axes if a.optional for n in a.names}
    missing = optional.difference(*names.values())
    lets: dict[str, Node] = {}
    statements = []
    for symbol, body in formula.statements:
        body = replaced(inline(body, lets), lambda node: _over(_activation(node, words), missing))
        if symbol not in layouts:
            lets[symbol] = body
            continue
        _check_names(body, sizes, names, numbered)
        body = settled(body)
        _, whole = whole_dims(body, names)
        read = tuple(leaves(body, names))
        parts = list(walk(body))
        products = any(is_product(node) for node in parts)
        windows = any(isinstance(node, Apply) and node.function in ("window", "unwindow") for node in parts)
        independent = tuple(d for d in names[symbol] if d not in whole)
        statements.append(Statement(symbol, body, independent, products, windows, read))
    if not statements:
        raise FormulaError("its result was not seen at this level")
    return Plan(sizes, layouts, tuple(statements), {name: settled(body) for name, body in lets.items()})


def _activation(node: Node, words: Mapping[str, str]) -> Node:
    """`act(x, A)` as the function that the word A names."""
    match node:
        case Apply("act", (x, Name(symbol))):
            function = ACTIVATIONS.get(words.get(symbol, ""))
            if function is None:
                raise FormulaError(f"{symbol} is {words.get(symbol, 'no word')!r}, and no activation is called so")
            if function == "linear":
                return x
            return expand(function, x) if function in EXPANSIONS else Apply(function, (x,))
    return node


def _over(node: Node, missing: Collection[str]) -> Node:
    """A reduction over those of its dimensions that the tensors have: a picture has one more than a sequence."""
    match node:
        case Apply(function, (x, *over)) if function in REDUCTIONS and over:
            left = tuple(d for d in over if not (isinstance(d, Name) and d.id in missing))
            if not left:
                if function in ("var", "softmax"):
                    raise FormulaError(f"{function}() has no dimension left to run over")
                return x
            return node if len(left) == len(over) else Apply(function, (x, *left))
    return node


def _settled(node: Node, values: Mapping[str, float]) -> Node:
    """What known numbers decide: the branch of a `where` that counts, a sum with nothing and a product with 1."""
    match node:
        case Apply("where", (condition, chosen, other)):
            found = _number(condition, values)
            return node if found is None else chosen if found else other
        case Apply("mask" | "hide", (x,)) if _number(x, values) == 0:
            return Number(0.0)
        case Operation("+", x, y) if _number(y, values) == 0:
            return x
        case Operation("*", x, y) if _number(y, values) == 1:
            return x
    return node


_COMPARED = {"<": lt, ">": gt, "<=": le, ">=": ge, "==": eq}


def _number(node: Node, values: Mapping[str, float]) -> float | None:
    match node:
        case Number(value):
            return value
        case Name(name):
            return values.get(name)
        case Operation(operator, left, right) if operator in _COMPARED:
            a, b = _number(left, values), _number(right, values)
            return None if a is None or b is None else float(_COMPARED[operator](a, b))
    return None


def _check_names(body: Node, sizes: Mapping[str, int], names: Mapping[str, tuple[str, ...]], numbers: set[str]) -> None:
    """Everything that the evaluator will look for is there."""
    for node in walk(body):
        match node:
            case Name(name) if name not in sizes and name not in names and name not in numbers:
                raise FormulaError(f"{name} is not known here")
            case Apply(function, _):
                for dim in named(node):
                    if dim not in sizes:
                        raise FormulaError(f"{dim} is no dimension")
                if function in PLACES and base(node) and base(node) not in names:
                    raise FormulaError(f"{function}() needs a tensor that the step saw, not {base(node)}")
            case Lookup(Name(table)) if table not in names:
                raise FormulaError(f"{table} is no tensor whose rows can be looked up")
            case Select(Name(name), dim, index):
                if dim not in names.get(name, ()):
                    raise FormulaError(f"{name} has no dimension {dim}")
                if not -sizes[dim] <= index < sizes[dim]:
                    raise FormulaError(f"{name} has no position {index} along {dim}")
