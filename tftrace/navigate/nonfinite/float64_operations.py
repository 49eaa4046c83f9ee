"""Single operations in float64 as torch rounds them, which stop at the one that makes NaN or Inf of finite numbers."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .dtype_limits import beyond, edge, promoted

MASKED = "softmax of a row that sees nothing"
DTYPES = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}
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


class Blamed(Exception):
    """Raised at the operation that is found."""

    def __init__(self, blame: Blame) -> None:
        self.blame = blame


ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sqrt": np.sqrt, "square": np.square, "abs": np.abs, "neg": np.negative, "sin": np.sin, "cos": np.cos,
    "tanh": np.tanh, "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip
_SAME_AS = {
    "true_divide": "div", "divide": "div", "truediv": "div", "multiply": "mul", "subtract": "sub", "bmm": "matmul",
    "mm": "matmul", "float_power": "pow",
}  # fmt: skip
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


def apply(name: str, operands: list[Number], options: dict[str, ast.expr]) -> Number | None:
    """Do one operation, and raise Blamed if it is the one."""
    name = _SAME_AS.get(name, name)
    first = operands[0]
    dtype = ""
    for one in operands:
        dtype = promoted(dtype, one.dtype)
    if name in ELEMENTWISE and math.prod(np.broadcast_shapes(*(one.cells.shape for one in operands[:2]))) > _MOST:
        return None
    if name in ELEMENTWISE:
        cells = ELEMENTWISE[name](*(one.cells for one in operands[:2]))
        return checked(name, operands[:2], cells, dtype)
    if name == "matmul":
        if first.cells[..., 0].size * operands[1].cells.shape[-1] > _MOST:
            return None
        return checked(name, operands[:2], first.cells @ operands[1].cells, dtype)
    if name == "linear" and len(operands) in (2, 3):
        bias = operands[2].cells if len(operands) == 3 else 0.0
        return checked("matmul", operands, first.cells @ operands[1].cells.T + bias, dtype)
    if name in _REDUCTIONS:
        axis, keep = _dim(options, operands)
        return checked(name, [first], _REDUCTIONS[name](first.cells, axis=axis, keepdims=keep), first.dtype)
    if name in ("softmax", "log_softmax"):
        axis, _ = _dim(options, operands)
        return _softmax(first, -1 if axis is None else axis, name == "log_softmax")
    if name == "masked_fill" and len(operands) == 3:
        return Number(np.where(operands[1].cells != 0, operands[2].cells, first.cells), first.dtype)
    if name in DTYPES:
        return checked("cast", [first], first.cells, DTYPES[name])
    if name == "transpose" and len(operands) == 3:
        return Number(first.cells.swapaxes(int(operands[1].cells), int(operands[2].cells)), first.dtype)
    if name == "unsqueeze" and len(operands) == 2:
        return Number(np.expand_dims(first.cells, int(operands[1].cells)), first.dtype)
    return first if name in _NOTHING else None


def _softmax(given: Number, axis: int, log: bool) -> Number:
    top = given.cells.max(axis=axis, keepdims=True)
    if np.isneginf(top).any():
        raise Blamed(Blame("masked row", MASKED))
    if np.isposinf(top).any():
        raise Blamed(Blame("inf−inf", "softmax of a row with +Inf"))
    raised = np.exp(given.cells - top)
    total = raised.sum(axis=axis, keepdims=True)
    return Number(given.cells - top - np.log(total) if log else raised / total, given.dtype)


def checked(name: str, operands: list[Number], cells: np.ndarray, dtype: str) -> Number:
    """The result, as its dtype has it; raises Blamed if finite operands gave NaN or Inf, or infinite ones NaN."""
    cells = np.asarray(cells, np.float64)
    limit = edge(dtype)
    beyond_limit = np.abs(cells) >= limit if math.isfinite(limit) else np.isinf(cells)
    whole = [one.cells for one in operands]
    unknown = np.isnan(cells)
    if unknown.any() and not any(np.isnan(one).any() for one in whole):
        raise Blamed(_of_nan(name, operands, unknown))
    if beyond_limit.any() and not any(np.isinf(one).any() for one in whole):
        raise Blamed(_of_inf(name, whole, cells, beyond_limit, dtype))
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
        found: np.ndarray = np.broadcast_to(operand, where.shape)[where]
        return found

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


def _dim(options: dict[str, ast.expr], operands: list[Number]) -> tuple[int | None, bool]:
    """The axis of a reduction, and whether it is kept."""
    given = options.get("dim", options.get("axis"))
    keep = options.get("keepdim")
    kept = isinstance(keep, ast.Constant) and bool(keep.value)
    if given is not None:
        return int(ast.literal_eval(given)), kept
    plain = [one for one in operands[1:] if one.cells.ndim == 0]
    return (int(plain[0].cells) if plain else None), kept or len(plain) > 1
