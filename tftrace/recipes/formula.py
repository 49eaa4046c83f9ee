"""The small formula language: parsed once by our own grammar, so that a recipe can reach nothing but numbers.

    P = softmax(Q @ T(K) / sqrt(D) + mask(M)); out = P @ V

A formula is one or more statements `symbol = expression`, separated by `;`; a lone expression is `out`.
A symbol that the recipe binds to a tensor of the run is checked against it and then stands for it; one that
it does not bind is an abbreviation. Names that are no symbols are sizes of dimensions.
`W[ids]` looks rows up, `x[T=0]` takes one position along a dimension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ..errors import TraceError

MAX_LENGTH = 2000  # characters
MAX_DEPTH = 40  # nested brackets
MAX_HEIGHT = 100  # operations on top of each other, abbreviations put in their place


class FormulaError(TraceError):
    """A formula that cannot be understood; the message names the place."""


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

# function -> (least, most) number of arguments; a dimension may be the last one of a reduction
FUNCTIONS = {
    "T": (1, 1), "sqrt": (1, 1), "exp": (1, 1), "log": (1, 1), "tanh": (1, 1), "erf": (1, 1), "sin": (1, 1),
    "cos": (1, 1), "sigmoid": (1, 1), "abs": (1, 1), "max": (2, 2), "min": (2, 2), "where": (3, 3), "mask": (1, 1),
    "causal": (2, 2), "pos": (1, 1), "softmax": (1, 2), "sum": (1, 2), "mean": (1, 2), "var": (1, 2),
}  # fmt: skip

_OF_DIMENSIONS, _REDUCTIONS = ("pos", "causal"), ("softmax", "sum", "mean", "var")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<operator>\*\*|<=|>=|==|[-+*/@<>=;,()\[\]]))"
)
_LEVELS = (("<", ">", "<=", ">=", "=="), ("+", "-"), ("*", "/", "@"))


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula: `(symbol, expression)` in order."""

    source: str
    statements: tuple[tuple[str, Node], ...]

    names: frozenset[str]  # every name that an expression uses
    symbols: frozenset[str]  # these, and the names that statements define


def parse(source: str) -> Formula:
    """Parse a formula; raises FormulaError that names the place."""
    if len(source) > MAX_LENGTH:
        raise FormulaError(f"The formula is longer than {MAX_LENGTH} characters: split it into symbols.")
    return _Parser(source).formula()


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


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while source[at:].strip():
            found = _TOKEN.match(source, at)
            if found is None:
                rest = source[at:].lstrip()
                column = len(source) - len(rest) + 1
                raise FormulaError(f"The formula has an unexpected {rest[0]!r} at column {column}.")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found[kind], found.start(kind)))
            at = found.end()
        self._at = self._depth = 0

    def formula(self) -> Formula:
        statements = [self._statement()]
        while self._take(";"):
            statements.append(self._statement())
        if self._at < len(self._tokens):
            self._fail("an operator")
        self._check_height(statements)
        names = frozenset(n.id for _, body in statements for n in walk(body) if isinstance(n, Name))
        return Formula(self._source, tuple(statements), names, names | {symbol for symbol, _ in statements})

    @staticmethod
    def _check_height(statements: list[tuple[str, Node]]) -> None:
        """Whoever walks the formula by recursion must come back."""
        defined: dict[str, int] = {}
        for symbol, body in statements:
            heights: dict[int, int] = {}
            for node in reversed(list(walk(body))):
                below = max((heights[id(child)] for child in children(node)), default=0)
                heights[id(node)] = defined.get(node.id, 1) if isinstance(node, Name) else 1 + below
            defined[symbol] = heights[id(body)]
            if defined[symbol] > MAX_HEIGHT:
                raise FormulaError(f"The formula puts more than {MAX_HEIGHT} operations on top of each other.")

    def _statement(self) -> tuple[str, Node]:
        if [t[1] for t in self._tokens[self._at + 1 : self._at + 2]] == ["="]:
            symbol = self._name()
            self._need("=")
            return symbol, self._level(0)
        return "out", self._level(0)

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        self._deeper()
        node = self._level(level + 1)
        while operator := self._take(*_LEVELS[level]):
            node = Operation(operator, node, self._level(level + 1))
        self._depth -= 1
        return node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH * len(_LEVELS):
            raise FormulaError(f"The formula nests deeper than {MAX_DEPTH}: split it into symbols.")

    def _unary(self) -> Node:
        signs = 0
        while self._take("-"):
            signs += 1
        base = self._postfix()
        if self._take("**"):
            self._deeper()
            base = Operation("**", base, self._unary())
            self._depth -= 1
        return Negative(base) if signs % 2 else base

    def _postfix(self) -> Node:
        node = self._atom()
        while self._take("["):
            if not isinstance(node, Name):
                raise FormulaError("Only a plain symbol can stand before '['.")
            if [t[1] for t in self._tokens[self._at + 1 : self._at + 2]] == ["="]:
                dim = self._name()
                self._need("=")
                sign = -1 if self._take("-") else 1
                node = Select(node, dim, sign * self._index())
            else:
                node = Lookup(node, self._level(0))
            self._need("]")
        return node

    def _index(self) -> int:
        text = self._kind("number", "a whole number")
        if not text.isdecimal() or len(text) > 9:
            self._at -= 1
            self._fail("a whole number")
        return int(text)

    def _atom(self) -> Node:
        if self._take("("):
            node = self._level(0)
            self._need(")")
            return node
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "number":
            return Number(float(self._kind("number", "a number")))
        name = self._name()
        if not self._take("("):
            return Name(name)
        if name not in FUNCTIONS:
            raise FormulaError(f"There is no function {name!r}: there are {', '.join(sorted(FUNCTIONS))}.")
        arguments = [self._level(0)]
        while self._take(","):
            arguments.append(self._level(0))
        self._need(")")
        least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise FormulaError(f"{name}() takes {least if least == most else f'{least} or {most}'} arguments.")
        named = arguments if name in _OF_DIMENSIONS else arguments[1:] if name in _REDUCTIONS else []
        if not all(isinstance(argument, Name) for argument in named):
            raise FormulaError(f"{name}() needs the name of a dimension there, not an expression.")
        return Apply(name, tuple(arguments))

    def _name(self) -> str:
        return self._kind("name", "a name or a number")

    def _kind(self, kind: str, wanted: str) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] != kind:
            self._fail(wanted)
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _take(self, *operators: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][1] in operators:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None

    def _need(self, operator: str) -> None:
        if not self._take(operator):
            self._fail(repr(operator))

    def _fail(self, wanted: str) -> NoReturn:
        if self._at < len(self._tokens):
            _, text, column = self._tokens[self._at]
            raise FormulaError(f"The formula needs {wanted} at column {column + 1}, not {text!r}.")
        raise FormulaError(f"The formula ends where it needs {wanted}.")
