"""Evaluates a formula in float64 on named dimensions, and with each value a bound on what rounding did to it.

The bound is a running error analysis: every operation adds the unit roundoff `u` of the run's dtype times the size
of its result to what its operands bring along. A reduction over n terms adds min(n, 4 sqrt(n)) u (Higham and Mary,
"A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019, Theorem 2.4).
Underflow adds half the smallest number of the dtype. Overflow is not rounding: a run that becomes infinite differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .analysis import REDUCTIONS, inner_dim, reduced_dim, swapped, union
from .formula import Apply, FormulaError, Lookup, Name, Negative, Node, Number, Operation, Select

_LIBRARY = 8.0  # units `u` (four in the last place) that exp, tanh or sin may be off; half precision uses float32's
_OWN = 2.0**-53  # what this evaluation rounds by itself
_MAX_CELLS, _MAX_PRODUCTS = 1 << 24, 1 << 30  # of one value, in one matrix product; a recipe may be a stranger's
_READ = {"pos", "causal"}  # functions of where a cell stands
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

# unit roundoff -> half the smallest number; float32 and bfloat16 may be flushed to zero below their normal numbers
_TINY = {2.0**-53: 2.0**-1022, 2.0**-24: 2.0**-126, 2.0**-11: 2.0**-25, 2.0**-8: 2.0**-25}

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
    def size(self, dim: str) -> int: ...
    def lookup(self, table: str, index: Value) -> Value: ...
    def select(self, name: str, dim: str, index: int) -> Value: ...
    def positions(self, dim: str) -> Array: ...


def constant(value: float) -> Value:
    """A number without dimensions, known exactly."""
    return Value((), np.float64(value), np.float64(0.0))


class Evaluator:
    """Evaluates nodes over `symbols`, for a run whose unit roundoff is `u` (`sum_u` where sums accumulate).

    The values of leaves (see `analysis.leaves`) that are `given` are not asked for again."""

    def __init__(
        self, symbols: Symbols, u: float, sum_u: float | None = None, given: Mapping[Node, Value] | None = None
    ) -> None:
        self._symbols, self._given = symbols, given or {}
        self._u, self._sum_u = (unit + _OWN for unit in (u, u if sum_u is None else sum_u))
        self._library = 1.0 + _LIBRARY * self._sum_u / self._u
        self._tiny = _TINY.get(u, 0.0)
        self._known: dict[int, Value] = {}

    def evaluate(self, node: Node) -> Value:
        """The value of an expression; raises FormulaError where its dimensions do not fit."""
        with np.errstate(all="ignore"):
            return self._node(node)

    def _node(self, node: Node) -> Value:
        """A node's value; an abbreviation that stands in many places is evaluated once."""
        found = self._known.get(id(node))
        if found is None:
            found = self._known[id(node)] = self._evaluate(node)
        return found

    def _evaluate(self, node: Node) -> Value:
        leaf = isinstance(node, (Name, Lookup, Select)) or (isinstance(node, Apply) and node.function in _READ)
        if leaf and node in self._given:
            return self._given[node]
        match node:
            case Number(value):
                return self._stored(constant(value))
            case Name(name):
                found = self._symbols.value(name)
                found = constant(self._symbols.size(name)) if found is None else found
                return found if found.dims else self._stored(found)
            case Negative(operand):
                inner = self._node(operand)
                return replace(inner, v=-_real(inner.v))
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
            case Apply(function, arguments) if function in REDUCTIONS:
                reduced = self._node(arguments[0])
                return self._reduce(function, reduced, reduced_dim(function, arguments, reduced.dims))
            case Apply(function, arguments):
                return self._function(function, [self._node(a) for a in arguments])
        raise AssertionError(node)

    def _stored(self, x: Value) -> Value:
        """A number as the run holds it: rounded, unless a few bits are enough for it."""
        few = math.ldexp(math.frexp(x.v)[0], 8).is_integer() if math.isfinite(x.v) else True
        return x if few else Value(x.dims, x.v, x.e + self._u * np.abs(x.v))

    def _round(self, dims: tuple[str, ...], v: Array, e: Array, units: float = 1.0, sure: Array | bool = True) -> Value:
        """A result with its own rounding added; one that is surely infinite or NaN has none."""
        e = e + units * (self._u * (np.abs(v) + e) + self._tiny)
        e = np.where(np.isfinite(v), e, np.where(sure, 0.0, np.inf))
        return Value(dims, v, np.where(np.isnan(e), np.inf, e))

    def _elementwise(self, operator: str, a: Value, b: Value) -> Value:
        dims, (x, y), (p, q) = _aligned(a, b)
        sure = _sure(x, p) & _sure(y, q)
        match operator:
            case "+":
                return self._round(dims, x + y, p + q)
            case "-":
                return self._round(dims, x - y, p + q)
            case "*":
                return self._round(dims, x * y, _times(np.abs(x), q) + _times(np.abs(y), p) + _times(p, q), sure=sure)
            case "/":
                v = x / y
                e = np.where(sure | (np.abs(y) > q), (p + _times(np.abs(v), q)) / (np.abs(y) - q), np.inf)
                return self._round(dims, v, np.where((p == 0) & (q == 0), 0.0, e), sure=sure)
            case "**":
                return self._power(dims, x, y, p, q)
        compare = {"<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal}
        e = np.where((p + q > 0) & ~(np.abs(x - y) > p + q), 1.0, 0.0)  # rounding may decide it
        return Value(dims, compare[operator](x, y), e)

    def _power(self, dims: tuple[str, ...], x: Array, y: Array, p: Array, q: Array) -> Value:
        v, size = x**y, np.abs(x)
        # x (1 ± r) to the power y ± q, as long as the base keeps its sign …
        log, r = np.log(size), np.where(p > 0, -np.log1p(-p / size), 0.0)
        near = np.abs(v) * np.expm1(_times(np.abs(y), r) + _times(np.abs(log) + r, q))
        # … and if it may not, a whole positive power is at most that of the largest base.
        whole = (y == np.round(y)) & (y > 0) & (q == 0)
        far = np.where(whole, (size + p) ** np.maximum(y, 0.0) + np.abs(v), np.inf)
        e = np.where(p < size, np.where((x > 0) | (q == 0), near, np.inf), far)
        e = np.where((p == 0) & (q == 0), 0.0, e)
        return self._round(dims, v, e, self._library, sure=_sure(x, p) & _sure(y, q))

    def _matmul(self, a: Value, b: Value) -> Value:
        inner = inner_dim(a.dims, b.dims)
        dims = union(tuple(d for d in a.dims if d != inner), tuple(d for d in b.dims if d != inner))
        if len(dims) >= len(_LETTERS):
            raise FormulaError(f"'@' has more than {len(_LETTERS) - 1} dimensions.")
        _check_size(dims, a, b)
        _check_size((*dims, inner), a, b, most=_MAX_PRODUCTS)
        letter = {d: _LETTERS[i] for i, d in enumerate((*dims, inner))}
        spec = ",".join("".join(letter[d] for d in x.dims) for x in (a, b)) + "->" + "".join(letter[d] for d in dims)
        x, y = _real(a.v), _real(b.v)
        v, size = np.einsum(spec, x, y), np.einsum(spec, np.abs(x), np.abs(y))
        e = np.zeros(v.shape)
        if b.e.any():
            e = e + np.einsum(spec, np.abs(x), b.e)
        if a.e.any():
            e = e + np.einsum(spec, a.e, np.abs(y) + b.e)
        terms = a.v.shape[a.dims.index(inner)]
        # Half precision may round partial sums, whose size is that of their terms over the root of their number.
        e = e + (self._u / math.sqrt(terms) + self._sum_units(terms)) * (size + e) + self._tiny
        return self._round(dims, v, e)

    def _sum_units(self, terms: int) -> float:
        return min(terms, 4.0 * math.sqrt(terms)) * self._sum_u

    def _reduce(self, function: str, x: Value, dim: str) -> Value:
        axis = x.dims.index(dim)
        n = x.v.shape[axis]
        if function == "softmax":
            return self._softmax(replace(x, v=_real(x.v)), axis)
        dims = tuple(d for d in x.dims if d != dim)
        values = _real(x.v)
        if function == "var":
            return self._variance(x, values, dim, axis)
        v, size = values.sum(axis), np.abs(values).sum(axis)
        e = x.e.sum(axis)
        e = e + self._sum_units(n) * (size + e)
        if function == "mean":
            v, e = v / n, e / n
        return self._round(dims, v, e)

    def _variance(self, x: Value, values: Array, dim: str, axis: int) -> Value:
        """The error of the mean counts squared only, since the differences from the true mean sum to zero; where it
        is a running one (Welford), each of its steps adds a rounding of its own."""
        mean = self._reduce("mean", x, dim)
        off = np.expand_dims(mean.e, axis)
        difference = np.abs(values - np.expand_dims(mean.v, axis))
        own = x.e + self._u * (difference + x.e + off) + 2 * self._sum_u * np.abs(values) + self._tiny
        v = (difference**2).mean(axis)
        e = (2 * difference * own + (own + off) ** 2).mean(axis)
        e = e + (self._u + self._sum_units(values.shape[axis])) * (v + e) + self._tiny
        return self._round(mean.dims, v, e)

    def _softmax(self, x: Value, axis: int) -> Value:
        """In logarithms: what the scores are off by, and what the exponentials add, moves a weight by a factor."""
        highest = x.v.max(axis, keepdims=True)
        masked = np.isneginf(x.v)
        z = np.where(masked, -np.inf, x.v - highest)
        total = np.exp(z).sum(axis, keepdims=True)
        p = np.exp(z) / total
        off = np.where(masked & (x.e == 0), 0.0, x.e + self._u * (np.abs(z) + x.e + self._library))
        growth = np.log(np.exp(z + off).sum(axis, keepdims=True) / total)
        factor = off + growth + self._sum_units(x.v.shape[axis])
        # A weight may also come from nothing: then it is what the largest possible score makes of it.
        e = np.where(p > 0, p * np.expm1(factor), np.exp(z - np.log(total) + factor))
        e = np.where(np.isnan(e), 1.0, np.minimum(e, 1.0))
        return self._round(x.dims, p, np.where(masked & (x.e == 0), 0.0, e))

    def _causal(self, query: str, key: str) -> Value:
        """0 where a query may see a key and -inf where the key is later; the last query sees the last key."""
        ahead = self._symbols.size(key) - self._symbols.size(query)
        late = self._symbols.positions(key)[None, :] > self._symbols.positions(query)[:, None] + ahead
        return Value((query, key), np.where(late, -np.inf, 0.0), np.zeros(late.shape))

    def _function(self, function: str, args: list[Value]) -> Value:
        x = args[0]
        v, e, d = x.v, x.e, x.dims
        if function == "T":
            return Value(swapped(d), v.swapaxes(-1, -2), e.swapaxes(-1, -2))
        if function == "mask":  # a boolean mask keeps what is True; an additive one is added as it is
            return Value(d, np.where(v, 0.0, -np.inf), np.where(e > 0, np.inf, 0.0)) if v.dtype == np.bool_ else x
        if function == "where":
            dims, (c, a, b), (o, p, q) = _aligned(*args)
            apart = np.where((o > 0) & (a != b), np.abs(a - b), 0.0)
            e = np.where(o > 0, apart + np.maximum(p, q), np.where(c, p, q))
            return Value(dims, np.where(c, a, b), np.where(np.isnan(e), np.inf, e))
        if function in ("max", "min"):
            dims, (a, b), (p, q) = _aligned(*args)
            return Value(dims, (np.maximum if function == "max" else np.minimum)(a, b), np.maximum(p, q))
        v = _real(v)
        least = np.maximum(np.abs(v) - e, 0.0)  # the nearest to zero that the run's own may be
        match function:
            case "abs":
                return Value(d, np.abs(v), e)
            case "sqrt":
                sure = _sure(v, e)  # if not, the run may have taken the root of a negative number
                v, e = np.sqrt(v), np.where(sure, _times(1 / np.sqrt(v), e), np.inf)
                return self._round(d, v, e, 2.0, sure)  # not every library rounds it correctly
            case "exp":
                return self._round(d, np.exp(v), np.exp(v) * np.expm1(e), self._library)
            case "log":
                sure = _sure(v, e)
                return self._round(d, np.log(v), np.where(e > 0, e / least, 0.0), self._library, sure)
            case "tanh":
                return self._round(d, np.tanh(v), np.minimum(e * (1 - np.tanh(least) ** 2), 2.0), self._library)
            case "erf":
                slope = 2 / math.sqrt(math.pi) * np.exp(-(least**2))
                # torch's is right to units of 1, not of its result
                return self._round(d, erf(v), np.minimum(e * slope, 2.0) + _LIBRARY * self._sum_u)
            case "sigmoid":
                low = 1 / (1 + np.exp(least))
                return self._round(d, 1 / (1 + np.exp(-v)), np.minimum(e * low * (1 - low), 1.0), self._library)
            case "sin" | "cos":
                return self._round(d, getattr(np, function)(v), np.minimum(e, 2.0), self._library)
        raise AssertionError(function)


def _real(v: Array) -> Array:
    real: Array = v.astype(np.float64, copy=False)
    return real


def _sure(v: Array, e: Array) -> Array:
    """Whether rounding leaves a value on its side of zero."""
    sure: Array = (e == 0) | (np.abs(v) > e)
    return sure


def _times(a: Array, error: Array) -> Array:
    """a * error, where no error stays none even beside an infinity."""
    return np.where(error == 0, 0.0, a * error)


def _aligned(*values: Value) -> tuple[tuple[str, ...], list[Array], list[Array]]:
    """Values brought to common dimensions by name, ready to broadcast."""
    dims = union(*(x.dims for x in values))
    _check_size(dims, *values)

    def spread(x: Value, array: Array) -> Array:
        order = [x.dims.index(d) for d in dims if d in x.dims]
        array = np.transpose(array, order) if order != list(range(len(order))) else array
        return array[tuple(slice(None) if d in x.dims else None for d in dims)] if x.dims != dims else array

    return dims, [spread(x, _real(x.v)) for x in values], [spread(x, x.e) for x in values]


def _check_size(dims: tuple[str, ...], *values: Value, most: int = _MAX_CELLS) -> None:
    sizes = {d: n for x in values for d, n in zip(x.dims, x.v.shape, strict=True)}
    if math.prod(sizes[d] for d in dims) > most:
        raise FormulaError(f"the formula needs more than {most} cells at once, along {' '.join(dims)}")


def reorder(x: Value, dims: tuple[str, ...], shape: tuple[int, ...]) -> Value:
    """A value in the order of `dims`, repeated along those it lacks; raises FormulaError if it has others."""
    extra = [d for d in x.dims if d not in dims]
    if extra:
        raise FormulaError(f"the formula leaves the dimension {extra[0]!r}, which the result does not have")
    frame = Value(dims, np.zeros((1,) * len(dims)), np.zeros((1,) * len(dims)))
    _, (_, v), (_, e) = _aligned(frame, x)
    return Value(dims, np.broadcast_to(v, shape), np.broadcast_to(e, shape))
