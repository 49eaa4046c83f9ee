"""What a line computes, done again in float64 until the first operation that makes NaN or Inf.

Nothing of the text is run: it is parsed, and the few operations that are known here are done in numpy."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .float64_operations import DTYPES, ELEMENTWISE, Blame, Blamed, Number, apply, checked

_LIBRARIES = ("torch", "F", "nn", "math", "np", "numpy", "functional")
_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip


Bind = Callable[[ast.expr], Number | None]


def blame(statement: str, bind: Bind, sampled: bool = False) -> Blame | None:
    """The first operation of a statement that makes NaN or Inf; None if none is found. `bind` gives what an expression
    stands for, as far as it knows. `sampled`: its cells are only some of a tensor's, of which no sum can be made."""
    try:
        tree = ast.parse(statement.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node = tree.body[0] if len(tree.body) == 1 else None
    value = getattr(node, "value", None)
    if isinstance(node, ast.AugAssign):
        value = ast.copy_location(ast.BinOp(_loaded(node.target), node.op, node.value), node)
    if not isinstance(value, ast.expr):
        return None
    try:
        with np.errstate(all="ignore"):
            _Evaluation(bind, sampled).of(value)
    except Blamed as found:
        return found.blame
    except (ArithmeticError, ValueError, TypeError, IndexError, RecursionError, MemoryError):
        return None
    return None


def blame_of(operation: str, operands: list[Number]) -> Blame | None:
    """Of one operation by its name, such as `matmul`."""
    try:
        with np.errstate(all="ignore"):
            apply(operation.strip("_"), operands, {})
    except Blamed as found:
        return found.blame
    except (ArithmeticError, ValueError, TypeError, IndexError, MemoryError):
        return None
    return None


def _loaded(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Name(node.id, ast.Load()), node) if isinstance(node, ast.Name) else node


class _Evaluation:
    """Evaluates from the inside out; what is not known is None, and what is made of it too."""

    def __init__(self, bind: Bind, sampled: bool) -> None:
        self._bind, self._sampled = bind, sampled

    def of(self, node: ast.expr) -> Number | None:
        found = self._bind(node)
        if found is not None:
            return found
        if isinstance(node, ast.Constant):
            plain = isinstance(node.value, (bool, int, float))
            return Number(np.float64(node.value)) if plain else None  # type: ignore[arg-type]
        if isinstance(node, ast.Tuple):
            for one in node.elts:
                self.of(one)
            return None
        if isinstance(node, ast.BinOp):
            left, right = self.of(node.left), self.of(node.right)
            name = _OPERATORS.get(type(node.op))
            return self._applied(name, [left, right], {}) if name else None
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.Subscript):
            return self._part(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        return self._call(node) if isinstance(node, ast.Call) else None

    def _unary(self, node: ast.UnaryOp) -> Number | None:
        inner = self.of(node.operand)
        if inner is None or isinstance(node.op, ast.UAdd):
            return inner
        if isinstance(node.op, ast.USub):
            return Number(-inner.cells, inner.dtype)
        return Number(1 - inner.cells, inner.dtype) if inner.dtype == "bool" else None

    def _part(self, node: ast.Subscript) -> Number | None:
        inner = self.of(node.value)
        if inner is None or self._sampled:
            return inner
        return Number(inner.cells[_index(node.slice)], inner.dtype)

    def _attribute(self, node: ast.Attribute) -> Number | None:
        if node.attr in ("inf", "pi", "e") and isinstance(node.value, ast.Name) and node.value.id in _LIBRARIES:
            return Number(np.float64(getattr(math, node.attr)))
        inner = self.of(node.value)
        if inner is None or node.attr not in ("T", "mT"):
            return None
        return inner if self._sampled else Number(inner.cells.swapaxes(-1, -2), inner.dtype)

    def _call(self, node: ast.Call) -> Number | None:
        function, given = node.func, list(node.args)
        if isinstance(function, ast.Attribute):
            name = function.attr
            if not (isinstance(function.value, (ast.Name, ast.Attribute)) and _root(function) in _LIBRARIES):
                given.insert(0, function.value)
        elif isinstance(function, ast.Name):
            name = function.id
        else:
            return None
        if name == "float" and isinstance(function, ast.Name):
            return self._python_float(node)
        options = {one.arg: one.value for one in node.keywords if one.arg}
        operands = [self.of(one) for one in given]
        for option in options.values():
            self.of(option)
        if name in ("to", "type", "type_as"):
            return self._converted(operands, [*given[1:], *options.values()])
        return self._applied(name, operands, options)

    def _python_float(self, node: ast.Call) -> Number | None:
        word = node.args[0] if node.args else None
        if isinstance(word, ast.Constant) and isinstance(word.value, str):
            return Number(np.float64(float(word.value)))
        return None

    def _converted(self, operands: list[Number | None], asked: list[ast.expr]) -> Number | None:
        inner = operands[0] if operands else None
        if inner is None:
            return None
        names = [one.attr for one in asked if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name)]
        dtype = next((DTYPES.get(name, name) for name in names if name in (*DTYPES, *DTYPES.values())
                      or name.startswith("float8")), None)  # fmt: skip
        if dtype is None:
            return None
        return checked("cast", [inner], inner.cells, dtype)

    def _applied(self, name: str, operands: list[Number | None], options: dict[str, ast.expr]) -> Number | None:
        known = [one for one in operands if one is not None]
        if not known or operands[0] is None or (len(known) < len(operands) and name in (*ELEMENTWISE, "matmul")):
            return None
        if self._sampled and name not in ELEMENTWISE and name not in DTYPES:
            return None
        return apply(name.rstrip("_"), known, options)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _index(node: ast.expr) -> Any:
    """A constant index: numbers, slices, None and `...`; raises ValueError for what is not constant."""
    if isinstance(node, ast.Tuple):
        return tuple(_index(one) for one in node.elts)
    if isinstance(node, ast.Slice):
        return slice(*(None if end is None else _index(end) for end in (node.lower, node.upper, node.step)))
    return ast.literal_eval(node)
