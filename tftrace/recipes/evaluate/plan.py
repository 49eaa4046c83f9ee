"""Plans the evaluation of a formula from shapes alone, so that a module that is called again reuses the plan.

A plan has the sizes and layouts, and the dimensions along which a few cells of the result can be drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from operator import eq, ge, gt, le, lt

from ..formula import dims
from ..formula.analysis import base_tensor, infer_dims, is_product, leaves, named_dims
from ..formula.functions import ACTIVATIONS, EXPANSIONS, POSITION_FUNCTIONS, REDUCTIONS
from ..formula.language import Formula, FormulaError, expand
from ..formula.nodes import Apply, Lookup, Name, Node, Number, Operation, Select, inline, operands, transform, walk

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Numbers = tuple[tuple[str, float | str], ...]  # values of symbols; a config may also give words, such as "gelu"


@dataclass(frozen=True, slots=True)
class Statement:
    """A symbol to compare with its expression, in which abbreviations are substituted."""

    symbol: str
    body: Node
    independent: tuple[str, ...]  # dimensions of the symbol along which a cell needs only its own position
    products: bool  # whether it contains a matrix product
    windows: bool  # whether it contains a sliding window, as a convolution does
    leaves: tuple[Node, ...]  # the parts that are read from the step
    moves: bool  # whether it only passes a tensor on, or moves its parts
    spread: tuple[str, ...] = ()  # optional dimensions that the symbol lacks: it holds for each of their positions


@dataclass(frozen=True, slots=True)
class Plan:
    """A formula fitted to the shapes of one step."""

    sizes: Mapping[str, int]
    layouts: Mapping[str, dims.Layout]
    statements: tuple[Statement, ...]
    lets: Mapping[str, Node]  # abbreviations, with others substituted in them


def make_plan(formula: Formula, patterns: Mapping[str, dims.Pattern], shapes: Shapes, numbers: Numbers) -> Plan:
    """Fit a formula to shapes and numbers.

    Args:
        formula: the formula.
        patterns: the named dimensions of each symbol.
        shapes: (symbol, shape) of each tensor.
        numbers: (symbol, value) of each number or word.

    Raises:
        TraceError: it does not fit; the sentence says why.
    """
    for symbol, _ in shapes:
        if symbol not in patterns:
            raise FormulaError(f"{symbol} is a tensor and has no named dimensions in the recipe")
    declared = {name for pattern in patterns.values() for axis in pattern.axes for name in axis.names}
    declared |= {
        n for _, body in formula.statements for node in walk(body) if isinstance(node, Apply) for n in named_dims(node)
    }
    known = {n: int(v) for n, v in numbers if n in declared and not isinstance(v, str) and isfinite(v)}
    sizes, layouts = dims.solve(patterns, dict(shapes), known)
    names = {symbol: layout.names for symbol, layout in layouts.items()}
    words = {name: value for name, value in numbers if isinstance(value, str)}
    values = {name: value for name, value in numbers if isinstance(value, float)}
    numbered = {name for name, _ in numbers} - set(words)

    def settled(body: Node) -> Node:
        return transform(body, lambda node: _simplify(node, values))

    def chosen(node: Node) -> Node:
        return _resolve_visible(_resolve_activation(node, words), layouts)

    optional = {n for p in patterns.values() for a in p.axes if a.optional for n in a.names}
    missing = optional.difference(*names.values())
    lets: dict[str, Node] = {}
    statements = []
    for symbol, body in formula.statements:
        body = transform(inline(body, lets), lambda node: _drop_missing_dims(chosen(node), missing))
        if symbol not in layouts:
            lets[symbol] = body
            continue
        _check_names(body, sizes, names, numbered)
        body = settled(body)
        found, needed = infer_dims(body, names)
        spread = tuple(d for d in found if d in optional and d not in names[symbol])
        read = tuple(leaves(body, names))
        parts = list(walk(body))
        products = any(is_product(node) for node in parts)
        windows = any(isinstance(node, Apply) and node.function in ("window", "unwindow") for node in parts)
        independent = tuple(d for d in names[symbol] if d not in needed)
        statements.append(Statement(symbol, body, independent, products, windows, read, _moves(body, names), spread))
    if not statements:
        raise FormulaError("its result was not seen at this level")
    return Plan(sizes, layouts, tuple(statements), {name: settled(body) for name, body in lets.items()})


_AXES_OF_PADDING = 2  # batch and keys, as flash attention takes it
_MOVING = {"T", "concat", "split_heads", "join_heads", "rename", "roll"}


def _moves(body: Node, tensors: Collection[str]) -> bool:
    """Whether nothing is computed: what stands there is tensors, or parts of them in another place."""
    match body:
        case Name(name):
            return name in tensors
        case Select(Name(name)):
            return name in tensors
        case Apply(function, (x, *_)):
            return function in _MOVING and all(_moves(part, tensors) for part in (operands(body) or (x,)))
    return False


def _resolve_activation(node: Node, words: Mapping[str, str]) -> Node:
    """Replace `act(x, A)` by the activation that the word A names."""
    match node:
        case Apply("act", (x, Name(symbol))):
            function = ACTIVATIONS.get(words.get(symbol, ""))
            if function is None:
                raise FormulaError(f"{symbol} is {words.get(symbol, 'no word')!r}, which is not a known activation")
            if function == "linear":
                return x
            return expand(function, x) if function in EXPANSIONS else Apply(function, (x,))
    return node


def _resolve_visible(node: Node, layouts: Mapping[str, dims.Layout]) -> Node:
    """Replace `visible(M, c, Tq, Tk, K)` by the mask M, if one was passed that has a row for each query: it says what
    is meant. Else, and with a mask of keys alone, no query sees a later key if `c` is true."""
    match node:
        case Apply("visible", (Name(mask) as given, causal, query, key, keys)):
            passed = layouts.get(mask)
            if passed is not None and len(passed.axes) > _AXES_OF_PADDING:
                return Apply("mask", (given,))
            later = Apply("where", (causal, Apply("causal", (query, key, keys)), Number(0.0)))
            return Operation("+", later, Apply("mask", (given,)))
    return node


def _drop_missing_dims(node: Node, missing: Collection[str]) -> Node:
    """Drop optional dimensions that the tensors lack from a reduction; an image has one more than a sequence."""
    match node:
        case Apply(function, (x, *over)) if function in REDUCTIONS and over:
            left = tuple(d for d in over if not (isinstance(d, Name) and d.id in missing))
            if not left:
                if function in ("var", "softmax"):
                    raise FormulaError(f"{function}() has no dimension left to run over")
                return x
            return node if len(left) == len(over) else Apply(function, (x, *left))
    return node


def _simplify(node: Node, values: Mapping[str, float]) -> Node:
    """Simplify by known numbers: choose the branch of a `where`, and drop `+ 0`, `* 1` and masks of 0."""
    match node:
        case Apply("where", (condition, chosen, other)):
            found = _known_number(condition, values)
            return node if found is None else chosen if found else other
        case Apply("mask" | "hide", (x,)) if _known_number(x, values) == 0:
            return Number(0.0)
        case Operation("+", x, y) if _known_number(y, values) == 0:
            return x
        case Operation("*", x, y) if _known_number(y, values) == 1:
            return x
    return node


_COMPARED = {"<": lt, ">": gt, "<=": le, ">=": ge, "==": eq}


def _known_number(node: Node, values: Mapping[str, float]) -> float | None:
    match node:
        case Number(value):
            return value
        case Name(name):
            return values.get(name)
        case Operation(operator, left, right) if operator in _COMPARED:
            a, b = _known_number(left, values), _known_number(right, values)
            return None if a is None or b is None else float(_COMPARED[operator](a, b))
    return None


def _check_names(body: Node, sizes: Mapping[str, int], names: Mapping[str, tuple[str, ...]], numbers: set[str]) -> None:
    """Raise FormulaError for a name that the evaluator would not find."""
    for node in walk(body):
        match node:
            case Name(name) if name not in sizes and name not in names and name not in numbers:
                raise FormulaError(f"{name} is not known here")
            case Apply(function, _):
                for dim in named_dims(node):
                    if dim not in sizes:
                        raise FormulaError(f"{dim} is no dimension")
                if function in POSITION_FUNCTIONS and base_tensor(node) and base_tensor(node) not in names:
                    raise FormulaError(f"{function}() needs a tensor that the step saw, not {base_tensor(node)}")
            case Lookup(Name(table)) if table not in names:
                raise FormulaError(f"{table} is no tensor whose rows can be looked up")
            case Select(Name(name), dim, index):
                if dim not in names.get(name, ()):
                    raise FormulaError(f"{name} has no dimension {dim}")
                if not -sizes[dim] <= index < sizes[dim]:
                    raise FormulaError(f"{name} has no position {index} along {dim}")
