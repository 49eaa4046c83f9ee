"""What the constructor's own line states: `self.scaling = self.head_dim**-0.5` read as source, and run by none.

Only plain arithmetic on numbers, attributes of the module and of its configuration is worked out, and only where the
attribute is set once, by a line that always runs. Of anything else nothing is stated."""

from __future__ import annotations

import ast
import inspect
import math
import operator
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[Any], float]] = {"math.sqrt": math.sqrt, "sqrt": math.sqrt, "float": float, "int": int}
_LARGEST = 1e6  # of numbers that are worked with: a power of larger ones takes its time
_DEEPEST = 20
_LONGEST = 1 << 18  # characters of a class

Read = Callable[[Any, str], Any]  # an attribute of an object, None if it is not there as it is


class _Unknown(Exception):
    """The line says more than plain arithmetic."""


def constructed(owner: Any, name: str, read: Read) -> float | None:
    """The number that an attribute of a module has by the line of its constructor; None if that cannot be told.

    Args:
        owner: the module.
        name: the attribute.
        read: reads an attribute without running any code of the model's.
    """
    for kind in type(owner).__mro__:
        lines, arguments = _constructor(kind)
        if name in lines:
            line = lines[name]
            try:
                found = None if line is None else _Reader(owner, lines, arguments, read).number(line, 0)
            except (_Unknown, ArithmeticError, ValueError, TypeError):
                return None
            return found
    return None


@lru_cache(maxsize=1024)
def _constructor(kind: type) -> tuple[dict[str, ast.expr | None], frozenset[str]]:
    """What a class's own constructor sets attributes and locals to (`name` and `.name`), None where that depends; and
    its arguments."""
    try:
        source = inspect.getsource(kind.__dict__["__init__"])
        tree = ast.parse(textwrap.dedent(source)) if len(source) <= _LONGEST else None
    except (KeyError, OSError, TypeError, SyntaxError, ValueError):
        return {}, frozenset()
    function = tree.body[0] if tree is not None and tree.body else None
    if not isinstance(function, ast.FunctionDef):
        return {}, frozenset()
    found: dict[str, ast.expr | None] = {}
    always = {id(statement) for statement in function.body}
    for statement in ast.walk(function):
        for name, value in _set(statement):
            once = name not in found and id(statement) in always
            found[name] = value if once else None
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return found, frozenset(a.arg for a in arguments)


def _set(statement: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a statement sets."""
    targets: list[ast.expr] = []
    value = None
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.NamedExpr | ast.For):
        targets = [statement.target]
        value = statement.value if isinstance(statement, ast.AnnAssign) else None
    for target in targets:
        for one in ast.walk(target):
            whole = one is target
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self":
                yield one.attr, value if whole else None
            elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                yield f".{one.id}", value if whole else None


class _Reader:
    """Works out an expression of a constructor, of what the module holds now."""

    def __init__(self, owner: Any, lines: dict[str, ast.expr | None], arguments: frozenset[str], read: Read) -> None:
        self._owner, self._lines, self._arguments, self._read = owner, lines, arguments, read

    def number(self, node: ast.expr, depth: int) -> float:
        found = self._value(node, depth)
        if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= _LARGEST:
            raise _Unknown
        return float(found)

    def _value(self, node: ast.expr, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _Unknown
        match node:
            case ast.Constant(value=value):
                return value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](self.number(left, depth + 1), self.number(right, depth + 1))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(operand, depth + 1)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self._value(body if self._value(test, depth + 1) else other, depth + 1)
            case ast.Call(func=function, args=[argument], keywords=[]) if ast.unparse(function) in _FUNCTIONS:
                return _FUNCTIONS[ast.unparse(function)](self.number(argument, depth + 1))
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return self._known(self._read(self._owner, name))
            case ast.Attribute(value=value, attr=name):
                return self._known(self._read(self._value(value, depth + 1), name))
            case ast.Name(id="config") if "config" in self._arguments and ".config" not in self._lines:
                return self._known(self._read(self._owner, "config"))
            case ast.Name(id=name) if (line := self._lines.get(f".{name}")) is not None:
                return self._value(line, depth + 1)
        raise _Unknown

    def _known(self, found: Any) -> Any:
        if found is None:
            raise _Unknown
        return found
