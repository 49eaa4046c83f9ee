"""What a line computes, done again in float64 on the numbers that were kept, until the first operation that makes NaN or Inf.

Nothing of the text is run: it is parsed, and the few operations that are known here are done in numpy."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .dtype_limits import beyond, edge, promoted

MASKED = "softmax of a row that sees nothing"
_DTYPES = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}
_LIBRARIES = ("torch", "F", "nn", "math", "np", "numpy", "functional")
_OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip
_MOST = 1 << 24  # elements of a result


@dataclass(frozen=True)
class Blame:
    """The operation that made NaN or Inf of finite numbers."""

    cause: str
    detail: str


@dataclass(frozen=True)
class Number:
    """What an expression stands for: float64 cells, and torch's dtype of them ('' of a Python number)."""

    cells: np.ndarray
    dtype: str = ""


class _Blamed(Exception):
    def __init__(self, blame: Blame) -> None:
        self.blame = blame


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
    except _Blamed as found:
        return found.blame
    except (ArithmeticError, ValueError, TypeError, IndexError, RecursionError, MemoryError):
        return None
    return None


def blame_of(operation: str, operands: list[Number]) -> Blame | None:
    """Of one operation by its name, such as `matmul`."""
    try:
        with np.errstate(all="ignore"):
            _apply(operation.strip("_"), operands, {})
    except _Blamed as found:
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
        dtype = next((_DTYPES.get(name, name) for name in names if name in (*_DTYPES, *_DTYPES.values())
                      or name.startswith("float8")), None)  # fmt: skip
        if dtype is None:
            return None
        return _checked("cast", [inner], inner.cells, dtype)

    def _applied(self, name: str, operands: list[Number | None], options: dict[str, ast.expr]) -> Number | None:
        known = [one for one in operands if one is not None]
        if not known or operands[0] is None or (len(known) < len(operands) and name in (*_ELEMENTWISE, "matmul")):
            return None
        if self._sampled and name not in _ELEMENTWISE and name not in _DTYPES:
            return None
        return _apply(name.rstrip("_"), known, options)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _index(node: ast.expr) -> object:
    """A constant index: numbers, slices, None and `...`; raises ValueError for what is not constant."""
    if isinstance(node, ast.Tuple):
        return tuple(_index(one) for one in node.elts)
    if isinstance(node, ast.Slice):
        return slice(*(None if end is None else _index(end) for end in (node.lower, node.upper, node.step)))
    return ast.literal_eval(node)


def _dim(options: dict[str, ast.expr], operands: list[Number]) -> tuple[int | None, bool]:
    """The axis of a reduction, and whether it is kept."""
    given = options.get("dim", options.get("axis"))
    keep = options.get("keepdim")
    kept = isinstance(keep, ast.Constant) and bool(keep.value)
    if given is not None:
        return int(ast.literal_eval(given)), kept
    plain = [one for one in operands[1:] if one.cells.ndim == 0]
    return (int(plain[0].cells) if plain else None), kept or len(plain) > 1


# -- operations -------------------------------------------------------------------------------------------------

_ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sqrt": np.sqrt, "square": np.square, "abs": np.abs, "neg": np.negative, "sin": np.sin, "cos": np.cos,
    "tanh": np.tanh, "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip
_SAME_AS = {"true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "bmm": "matmul", "mm": "matmul",
            "float_power": "pow", "truediv": "div"}  # fmt: skip
_REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "norm": lambda x, **o: np.sqrt(np.sum(x * x, **o)),
    "var": lambda x, **o: _variance(x, **o), "std": lambda x, **o: np.sqrt(_variance(x, **o)),
}  # fmt: skip


def _variance(cells: np.ndarray, axis: int | None, keepdims: bool) -> np.ndarray:
    """As torch has it: of a single number it is NaN."""
    size = cells.size if axis is None else cells.shape[axis]
    squares = np.sum((cells - cells.mean(axis=axis, keepdims=True)) ** 2, axis=axis, keepdims=keepdims)
    result: np.ndarray = np.divide(squares, size - 1)
    return result


_NOTHING = ("contiguous", "detach", "clone", "dropout", "cpu", "requires_grad_")


def _apply(name: str, operands: list[Number], options: dict[str, ast.expr]) -> Number | None:
    """Do one operation, and raise _Blamed if it is the one."""
    name = _SAME_AS.get(name, name)
    first = operands[0]
    dtype = ""
    for one in operands:
        dtype = promoted(dtype, one.dtype)
    if name in _ELEMENTWISE:
        cells = _ELEMENTWISE[name](*(one.cells for one in operands[:2]))
        return _checked(name, operands[:2], cells, dtype)
    if name == "matmul":
        if first.cells[..., 0].size * operands[1].cells.shape[-1] > _MOST:
            return None
        return _checked(name, operands[:2], first.cells @ operands[1].cells, dtype)
    if name == "linear" and len(operands) in (2, 3):
        bias = operands[2].cells if len(operands) == 3 else 0.0
        return _checked("matmul", operands, first.cells @ operands[1].cells.T + bias, dtype)
    if name in _REDUCTIONS:
        axis, keep = _dim(options, operands)
        return _checked(name, [first], _REDUCTIONS[name](first.cells, axis=axis, keepdims=keep), first.dtype)
    if name in ("softmax", "log_softmax"):
        axis, _ = _dim(options, operands)
        return _softmax(first, -1 if axis is None else axis, name == "log_softmax")
    if name == "masked_fill" and len(operands) == 3:
        return Number(np.where(operands[1].cells != 0, operands[2].cells, first.cells), first.dtype)
    if name in _DTYPES:
        return _checked("cast", [first], first.cells, _DTYPES[name])
    if name == "transpose" and len(operands) == 3:
        return Number(first.cells.swapaxes(int(operands[1].cells), int(operands[2].cells)), first.dtype)
    if name == "unsqueeze" and len(operands) == 2:
        return Number(np.expand_dims(first.cells, int(operands[1].cells)), first.dtype)
    return first if name in _NOTHING else None


def _softmax(given: Number, axis: int, log: bool) -> Number:
    top = given.cells.max(axis=axis, keepdims=True)
    if np.isneginf(top).any():
        raise _Blamed(Blame("masked row", MASKED))
    if np.isposinf(top).any():
        raise _Blamed(Blame("inf−inf", "softmax of a row with +Inf"))
    raised = np.exp(given.cells - top)
    total = raised.sum(axis=axis, keepdims=True)
    return Number(given.cells - top - np.log(total) if log else raised / total, given.dtype)


def _checked(name: str, operands: list[Number], cells: np.ndarray, dtype: str) -> Number:
    """The result, as its dtype has it; raises _Blamed if finite operands gave NaN or Inf, or infinite ones NaN."""
    cells = np.asarray(cells, np.float64)
    limit = edge(dtype)
    beyond_limit = np.abs(cells) >= limit if math.isfinite(limit) else np.isinf(cells)
    whole = [one.cells for one in operands]
    unknown = np.isnan(cells)
    if unknown.any() and not any(np.isnan(one).any() for one in whole):
        raise _Blamed(_of_nan(name, operands, unknown))
    if beyond_limit.any() and not any(np.isinf(one).any() for one in whole):
        raise _Blamed(_of_inf(name, whole, cells, beyond_limit, dtype))
    return Number(np.where(beyond_limit, np.copysign(np.inf, cells), cells), dtype)


def _of_nan(name: str, operands: list[Number], where: np.ndarray) -> Blame:
    infinite = any(np.isinf(one.cells).any() for one in operands)
    if name in ("sqrt", "rsqrt", "pow"):
        base = operands[0].cells
        return Blame("negative root", f"root of {_number(np.broadcast_to(base, where.shape)[where].min())}")
    if name.startswith("log"):
        return Blame("other", "log of a negative number")
    if name in ("mul", "matmul") and infinite:
        return Blame("0·inf", "")
    if name == "div":
        return Blame("other", "inf/inf") if infinite else Blame("0/0", "")
    if name in ("std", "var", "mean"):
        return Blame("0/0", f"{name} of {'no numbers' if operands[0].cells.size == 0 else 'a single number'}")
    return Blame("inf−inf", "") if infinite else Blame("other", "")


def _of_inf(name: str, operands: list[np.ndarray], cells: np.ndarray, where: np.ndarray, dtype: str) -> Blame:
    def at(operand: np.ndarray) -> np.ndarray:
        return np.broadcast_to(operand, where.shape)[where]

    if name.startswith("log"):
        return Blame("log 0", "")
    if name == "div" and (at(operands[1]) == 0).any():
        return Blame("other", "a number divided by 0")
    if name in ("rsqrt", "reciprocal", "pow") and (at(operands[0]) == 0).any():
        return Blame("other", "a number divided by 0")
    sizes = np.abs(cells[where])
    finite = sizes[np.isfinite(sizes)]
    if len(finite):
        return Blame("overflow", beyond(dtype, float(finite.max())))
    size = f"{name}({_number(float(at(operands[0]).max()))})" if len(operands) == 1 else None
    return Blame("overflow", beyond(dtype, size))


def _number(value: float) -> str:
    return f"{value:.4g}"
