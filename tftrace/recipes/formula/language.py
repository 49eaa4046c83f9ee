"""The formula language: a small grammar of our own, so that a recipe can compute with numbers and do nothing else.

    P = softmax(Q @ T(K) / sqrt(D) + mask(M)); out = P @ V

A formula is one or more statements `symbol = expression`, separated by `;`; a lone expression defines `out`.
A symbol that the recipe binds to a tensor of the run is checked against that tensor, which later statements then use;
any other symbol is an abbreviation. All other names are sizes of dimensions.
`W[ids]` looks up rows, `x[T=0]` takes one position along a dimension. `functions` lists the functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from ...errors import TraceError
from .functions import EXPANSIONS, SIGNATURES, argument_count, argument_kinds
from .nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select, height, inline, walk

__all__ = ["Apply", "Formula", "FormulaError", "Lookup", "Name", "Negative", "Node", "Number", "Operation", "Select",
           "expand", "inline", "parse", "walk"]  # fmt: skip

MAX_LENGTH = 2000  # characters
MAX_DEPTH = 40  # nested brackets
MAX_HEIGHT = 100  # depth of the expression tree, with abbreviations substituted


class FormulaError(TraceError):
    """Raised for a formula that cannot be understood; `column`, from 1, is where the mistake is, if it has a place."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<operator>\*\*|<=|>=|==|[-+*/@<>=;,()\[\]]))"
)
_WANTED = {"D": "the name of a dimension", "s": "the symbol of a tensor", "w": "the symbol of a word"}
_LEVELS = (("<", ">", "<=", ">=", "=="), ("+", "-"), ("*", "/", "@"))


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula: its statements `(symbol, expression)` in order."""

    source: str
    statements: tuple[tuple[str, Node], ...]

    names: frozenset[str]  # every name that an expression uses
    symbols: frozenset[str]  # these, and the names that statements define


@lru_cache(maxsize=2048)
def parse(source: str) -> Formula:
    """Parse a formula; raises FormulaError, which names the column."""
    if len(source) > MAX_LENGTH:
        raise FormulaError(f"The formula is longer than {MAX_LENGTH} characters: split it into symbols.")
    return _Parser(source).formula()


def expand(function: str, argument: Node) -> Node:
    """Replace a function by its definition (see EXPANSIONS)."""
    return inline(_expansion(function), {"x": argument})


@lru_cache(maxsize=64)
def _expansion(function: str) -> Node:
    return _Parser(EXPANSIONS[function]).formula().statements[0][1]


class _Parser:
    """A recursive-descent parser over the tokens of one formula."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while source[at:].strip():
            found = _TOKEN.match(source, at)
            if found is None:
                rest = source[at:].lstrip()
                column = len(source) - len(rest) + 1
                raise FormulaError(f"The formula has an unexpected {rest[0]!r} at column {column}.", column)
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
        """Raise FormulaError if the tree is so deep that recursive functions would exceed Python's stack."""
        defined: dict[str, int] = {}
        for symbol, body in statements:
            defined[symbol] = height(body, defined)
            if defined[symbol] > MAX_HEIGHT:
                raise FormulaError(f"The formula nests more than {MAX_HEIGHT} operations: split it into symbols.")

    def _statement(self) -> tuple[str, Node]:
        if [t[1] for t in self._tokens[self._at + 1 : self._at + 2]] == ["="]:
            symbol = self._name()
            self._need("=")
            return symbol, self._binary(0)
        return "out", self._binary(0)

    def _binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        self._enter()
        node = self._binary(level + 1)
        while operator := self._take(*_LEVELS[level]):
            node = Operation(operator, node, self._binary(level + 1))
        self._depth -= 1
        return node

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH * len(_LEVELS):
            message = f"The formula nests deeper than {MAX_DEPTH}: split it into symbols."
            raise FormulaError(message, self._column())

    def _unary(self) -> Node:
        signs = 0
        while self._take("-"):
            signs += 1
        base = self._postfix()
        if self._take("**"):
            self._enter()
            base = Operation("**", base, self._unary())
            self._depth -= 1
        return Negative(base) if signs % 2 else base

    def _postfix(self) -> Node:
        node = self._atom()
        while self._take("["):
            if not isinstance(node, Name):
                raise FormulaError("Only a plain symbol can stand before '['.", self._column(1))
            if [t[1] for t in self._tokens[self._at + 1 : self._at + 2]] == ["="]:
                dim = self._name()
                self._need("=")
                sign = -1 if self._take("-") else 1
                node = Select(node, dim, sign * self._index())
            else:
                node = Lookup(node, self._binary(0))
            self._need("]")
        return node

    def _index(self) -> int:
        text = self._token("number", "a whole number")
        if not text.isdecimal() or len(text) > 9:
            self._at -= 1
            self._fail("a whole number")
        return int(text)

    def _atom(self) -> Node:
        if self._take("("):
            node = self._binary(0)
            self._need(")")
            return node
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "number":
            return Number(float(self._token("number", "a number")))
        column = self._column()
        name = self._name()
        return self._call(name, column) if self._take("(") else Name(name)

    def _call(self, name: str, column: int) -> Node:
        if name not in SIGNATURES:
            raise FormulaError(f"There is no function {name!r}: there are {', '.join(sorted(SIGNATURES))}.", column)
        places, arguments = [self._column()], [self._binary(0)]
        while self._take(","):
            places.append(self._column())
            arguments.append(self._binary(0))
        self._need(")")
        found = argument_kinds(name, len(arguments))
        if found is None:
            raise FormulaError(f"{name}() takes {argument_count(name)} arguments.", column)
        for kind, argument, place in zip(found, arguments, places, strict=True):
            if kind in _WANTED and not isinstance(argument, Name):
                raise FormulaError(f"{name}() needs {_WANTED[kind]} there, not an expression.", place)
        return expand(name, arguments[0]) if name in EXPANSIONS else Apply(name, tuple(arguments))

    def _column(self, back: int = 0) -> int:
        """The column of the next token, from 1, or of the token `back` places before it."""
        at = self._at - back
        return self._tokens[at][2] + 1 if at < len(self._tokens) else len(self._source) + 1

    def _name(self) -> str:
        return self._token("name", "a name or a number")

    def _token(self, kind: str, wanted: str) -> str:
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
            raise FormulaError(f"The formula needs {wanted} at column {column + 1}, not {text!r}.", column + 1)
        raise FormulaError(f"The formula ends where it needs {wanted}.", len(self._source) + 1)
