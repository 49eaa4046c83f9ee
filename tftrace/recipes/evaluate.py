"""Evaluates a formula in float64 on named dimensions, and with each value a bound on what rounding did to it.

The bound is a running error analysis: every operation adds the unit roundoff `u` of the run's dtype times the size
of its result to what its operands bring along. A reduction over n terms adds min(n, 4 sqrt(n)) u (Higham and Mary,
"A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019, Theorem 2.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .formula import Apply, FormulaError, Lookup, Name, Negative, Node, Number, Operation, Select

_REDUCTIONS = {"softmax", "sum", "mean", "var"}
_TRANSCENDENTAL = 4.0  # units in the last place that a library's exp, tanh or erf may be off
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Array = np.ndarray[Any, Any]
erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Numbers `v` with named dimensions and `e`, how far the run's own may be from them through rounding."""

    dims: tuple[str, ...]
    v: Array
    e: Array


class Symbols(Protocol):
    """Where the evaluator finds what a name stands for."""

    def value(self, name: str) -> Value | None: ...
    def lookup(self, table: str, index: Value) -> Value: ...
    def select(self, name: str, dim: str, index: int) -> Value: ...
    def positions(self, dim: str) -> Array: ...
    def size(self, dim: str) -> int: ...


def constant(value: float) -> Value:
    """A number without dimensions, known exactly."""
    return Value((), np.float64(value), np.float64(0.0))


def whole_dims(node: Node, dims_of: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], set[str]]:
    """The dimensions of a node's result, and those along which a cell needs more than its own position."""
    match node:
        case Number():
            return (), set()
        case Name(name):
            return dims_of.get(name, ()), set()
        case Negative(operand):
            return whole_dims(operand, dims_of)
        case Select(Name(name), dim, _):
            return tuple(d for d in dims_of.get(name, ()) if d != dim), {dim}
        case Lookup(Name(table), index):
            found, needed = whole_dims(index, dims_of)
            rows = dims_of.get(table, ())
            return found + rows[1:], needed | set(rows[:1])
        case Operation("@", left, right):
            (a, p), (b, q) = whole_dims(left, dims_of), whole_dims(right, dims_of)
            inner = _inner(a, b)
            return _union(*(tuple(d for d in x if d != inner) for x in (a, b))), p | q | {inner}
        case Operation(_, left, right):
            (a, p), (b, q) = whole_dims(left, dims_of), whole_dims(right, dims_of)
            return _union(a, b), p | q
        case Apply("T", (only,)):
            found, needed = whole_dims(only, dims_of)
            return _swapped(found), needed
        case Apply("pos", (Name(dim),)):
            return (dim,), set()
        case Apply("causal", (Name(query), Name(key))):
            return (query, key), set()
        case Apply(function, arguments) if function in _REDUCTIONS:
            found, needed = whole_dims(arguments[0], dims_of)
            dim = _reduced(function, arguments, found)
            kept = found if function == "softmax" else tuple(d for d in found if d != dim)
            return kept, needed | {dim}
        case Apply(_, arguments):
            parts = [whole_dims(a, dims_of) for a in arguments]
            return _union(*(p[0] for p in parts)), set().union(*(p[1] for p in parts))
    raise AssertionError(node)


class Evaluator:
    """Evaluates nodes over `symbols`, for a run whose unit roundoff is `u` (`sum_u` where sums accumulate)."""

    def __init__(self, symbols: Symbols, u: float, sum_u: float | None = None) -> None:
        self._symbols, self._u, self._sum_u = symbols, u, u if sum_u is None else sum_u

    def evaluate(self, node: Node) -> Value:
        """The value of an expression; raises FormulaError where its dimensions do not fit."""
        with np.errstate(all="ignore"):
            return self._node(node)

    def _node(self, node: Node) -> Value:
        match node:
            case Number(value):
                return constant(value)
            case Name(name):
                found = self._symbols.value(name)
                return constant(self._symbols.size(name)) if found is None else found
            case Negative(operand):
                inner = self._node(operand)
                return replace(inner, v=-inner.v)
            case Select(Name(name), dim, index):
                return self._symbols.select(name, dim, index)
            case Lookup(Name(table), index):
                return self._symbols.lookup(table, self._node(index))
            case Operation("@", left, right):
                return self._matmul(self._node(left), self._node(right))
            case Operation(operator, left, right):
                return self._elementwise(operator, self._node(left), self._node(right))
            case Apply("pos", (Name(dim),)):
                at = self._symbols.positions(dim).astype(np.float64)
                return Value((dim,), at, np.zeros_like(at))
            case Apply("causal", (Name(query), Name(key))):
                return self._causal(query, key)
            case Apply(function, arguments) if function in _REDUCTIONS:
                reduced = self._node(arguments[0])
                return self._reduce(function, reduced, _reduced(function, arguments, reduced.dims))
            case Apply(function, arguments):
                return self._function(function, [self._node(a) for a in arguments])
        raise AssertionError(node)

    def _round(self, dims: tuple[str, ...], v: Array, e: Array, units: float = 1.0) -> Value:
        """A result with its own rounding added; an infinite one has none."""
        e = e + units * self._u * np.abs(v)
        return Value(dims, v, np.where(np.isfinite(v), e, 0.0))

    def _elementwise(self, operator: str, a: Value, b: Value) -> Value:
        dims, (x, y), (p, q) = _aligned(a, b)
        match operator:
            case "+":
                return self._round(dims, x + y, p + q)
            case "-":
                return self._round(dims, x - y, p + q)
            case "*":
                return self._round(dims, x * y, _times(np.abs(x), q) + _times(np.abs(y), p) + p * q)
            case "/":
                v = x / y
                return self._round(dims, v, (p + _times(np.abs(v), q)) / np.maximum(np.abs(y) - q, 0.0))
            case "**":
                v = x**y
                e = np.where(p > 0, np.abs(v * y) * p / np.abs(x), 0.0)
                e = e + np.where(q > 0, np.abs(v * np.log(np.abs(x))) * q, 0.0)
                return self._round(dims, v, e, _TRANSCENDENTAL)
        compare = {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal}
        return Value(dims, compare[operator](x, y), np.zeros(np.broadcast(x, y).shape))

    def _matmul(self, a: Value, b: Value) -> Value:
        inner = _inner(a.dims, b.dims)
        dims = _union(tuple(d for d in a.dims if d != inner), tuple(d for d in b.dims if d != inner))
        letter = {d: _LETTERS[i] for i, d in enumerate((*dims, inner))}
        spec = ",".join("".join(letter[d] for d in x.dims) for x in (a, b)) + "->" + "".join(letter[d] for d in dims)
        size = np.einsum(spec, np.abs(a.v), np.abs(b.v))
        e = size * self._sum_units(a.v.shape[a.dims.index(inner)])
        if b.e.any():
            e = e + np.einsum(spec, np.abs(a.v), b.e)
        if a.e.any():
            e = e + np.einsum(spec, a.e, np.abs(b.v) + b.e)
        return self._round(dims, np.einsum(spec, a.v.astype(np.float64), b.v.astype(np.float64)), e)

    def _sum_units(self, terms: int) -> float:
        return self._u + min(terms, 4.0 * math.sqrt(terms)) * self._sum_u

    def _reduce(self, function: str, x: Value, dim: str) -> Value:
        axis = x.dims.index(dim)
        n = x.v.shape[axis]
        if function == "softmax":
            return self._softmax(x, axis)
        dims = tuple(d for d in x.dims if d != dim)
        if function == "var":
            mean = self._reduce("mean", x, dim)
            difference = self._elementwise("-", x, mean)
            aligned = self._elementwise("*", difference, difference)
            return self._reduce("mean", aligned, dim)
        v = x.v.sum(axis)
        e = x.e.sum(axis) + self._sum_units(n) * np.abs(x.v).sum(axis)
        if function == "mean":
            v, e = v / n, e / n
        return self._round(dims, v, e)

    def _softmax(self, x: Value, axis: int) -> Value:
        highest = x.v.max(axis, keepdims=True)
        z = np.where(np.isneginf(x.v), -np.inf, x.v - highest)
        p = np.exp(z)
        p = p / p.sum(axis, keepdims=True)
        # Relative error of each exponential; where the probability is 0 nothing can change that.
        off = np.where(p > 0, x.e + self._u * np.abs(z) + _TRANSCENDENTAL * self._u, 0.0)
        relative = off + (p * off).sum(axis, keepdims=True) + self._sum_units(x.v.shape[axis])
        return self._round(x.dims, p, np.where(p > 0, p * np.expm1(relative), 0.0))

    def _causal(self, query: str, key: str) -> Value:
        """0 where a query may see a key and -inf where the key is later; the last query sees the last key."""
        ahead = self._symbols.size(key) - self._symbols.size(query)
        late = self._symbols.positions(key)[None, :] > self._symbols.positions(query)[:, None] + ahead
        return Value((query, key), np.where(late, -np.inf, 0.0), np.zeros(late.shape))

    def _function(self, function: str, args: list[Value]) -> Value:
        x = args[0]
        v, e, d = x.v, x.e, x.dims
        match function:
            case "T":
                return Value(_swapped(d), v.swapaxes(-1, -2), e.swapaxes(-1, -2))
            case "abs":
                return replace(x, v=np.abs(v))
            case "mask":  # a boolean mask keeps what is True; an additive one is added as it is
                return Value(d, np.where(v, 0.0, -np.inf), e) if v.dtype == np.bool_ else x
            case "max" | "min":
                dims, (a, b), (p, q) = _aligned(*args)
                return Value(dims, (np.maximum if function == "max" else np.minimum)(a, b), np.maximum(p, q))
            case "where":
                dims, (c, a, b), (_, p, q) = _aligned(*args)
                return Value(dims, np.where(c, a, b), np.where(c, p, q))
            case "sqrt":
                v = np.sqrt(v)
                return self._round(d, v, np.where(e < v * v, e / np.maximum(v, 1e-300), np.sqrt(e)))
            case "exp":
                return self._round(d, np.exp(v), np.exp(v) * np.expm1(e), _TRANSCENDENTAL)
            case "log":
                return self._round(d, np.log(v), e / np.maximum(np.abs(v) - e, 0.0), _TRANSCENDENTAL)
            case "tanh":
                return self._round(
                    d, np.tanh(v), e * np.clip(1 - np.tanh(np.maximum(np.abs(v) - e, 0)) ** 2, 0, 1), _TRANSCENDENTAL
                )
            case "erf":
                slope = 2 / math.sqrt(math.pi) * np.exp(-(np.maximum(np.abs(v) - e, 0.0) ** 2))
                return self._round(d, erf(v), e * slope, _TRANSCENDENTAL)
            case "sigmoid":
                return self._round(d, 1 / (1 + np.exp(-v)), e / 4, _TRANSCENDENTAL)
            case "sin" | "cos":
                return self._round(d, getattr(np, function)(v), e, _TRANSCENDENTAL)
        raise AssertionError(function)


def _times(a: Array, error: Array) -> Array:
    """a * error, where no error stays none even beside an infinity."""
    return np.where(error == 0, 0.0, a * error)


def _union(*dims: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(d for part in dims for d in part))


def _inner(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """The dimension that `a @ b` sums over: the last of `a`, and the last but one (or only one) of `b`."""
    right = b[-2:][0] if b else None
    if not a or a[-1] != right:
        raise FormulaError(f"'@' needs the last dimension of ({' '.join(a)}) as the last but one of ({' '.join(b)}).")
    return a[-1]


def _swapped(dims: tuple[str, ...]) -> tuple[str, ...]:
    if len(dims) < 2:
        raise FormulaError(f"T() needs two dimensions, not ({' '.join(dims)}).")
    return (*dims[:-2], dims[-1], dims[-2])


def _reduced(function: str, arguments: tuple[Node, ...], dims: tuple[str, ...]) -> str:
    """The dimension that a reduction runs over: the one named, or the last."""
    dim = arguments[1].id if len(arguments) > 1 and isinstance(arguments[1], Name) else dims[-1] if dims else ""
    if dim not in dims:
        raise FormulaError(f"{function}() cannot run over {dim or 'a scalar'!r}: there is ({' '.join(dims)}).")
    return dim


def _aligned(*values: Value) -> tuple[tuple[str, ...], list[Array], list[Array]]:
    """Values brought to common dimensions by name, ready to broadcast."""
    dims = _union(*(x.dims for x in values))

    def spread(x: Value, array: Array) -> Array:
        order = [x.dims.index(d) for d in dims if d in x.dims]
        array = np.transpose(array, order) if order != list(range(len(order))) else array
        return array[tuple(slice(None) if d in x.dims else None for d in dims)] if x.dims != dims else array

    return dims, [spread(x, x.v) for x in values], [spread(x, x.e) for x in values]


def reorder(x: Value, dims: tuple[str, ...], shape: tuple[int, ...]) -> Value:
    """A value in the order of `dims`, repeated along those it lacks; raises FormulaError if it has others."""
    extra = [d for d in x.dims if d not in dims]
    if extra:
        raise FormulaError(f"the formula leaves the dimension {extra[0]!r}, which the result does not have")
    frame = Value(dims, np.zeros((1,) * len(dims)), np.zeros((1,) * len(dims)))
    _, (_, v), (_, e) = _aligned(frame, x)
    return Value(dims, np.broadcast_to(v, shape), np.broadcast_to(e, shape))


def inline(node: Node, lets: Mapping[str, Node]) -> Node:
    """A node with abbreviations put in their place."""
    match node:
        case Name(name):
            return lets.get(name, node)
        case Negative(operand):
            return Negative(inline(operand, lets))
        case Operation(operator, left, right):
            return Operation(operator, inline(left, lets), inline(right, lets))
        case Apply(function, arguments):
            return Apply(function, tuple(inline(a, lets) for a in arguments))
        case Lookup(table, index):
            return Lookup(table, inline(index, lets))
    return node


__all__ = ["Evaluator", "Symbols", "Value", "constant", "inline", "reorder", "whole_dims"]
