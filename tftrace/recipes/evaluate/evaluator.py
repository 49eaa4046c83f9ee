"""Evaluates a formula in float64, and bounds for each value the rounding error of the recorded run.

The bound is a running error analysis, derived in docs/recipes.md: every operation adds the unit roundoff `u` of the
run's dtype times the size of its result to the propagated errors of its operands, and a sum adds what `rounding` says.
Underflow adds half the smallest number of the dtype. Overflow is not rounding: a run that becomes infinite differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from ..formula.analysis import inner_dim, named_dims, reduced_dims, result_dims, swapped, union, without
from ..formula.functions import POSITION_FUNCTIONS, REDUCTIONS, argument_kinds
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select
from . import rearranging, rounding
from .products import Product
from .value import (
    MAX_PRODUCTS,
    Array,
    Value,
    aligned,
    check_size,
    constant,
    reordered,
    scaled_error,
    shared_zeros,
    sign_certain,
    to_float64,
)

_LIBRARY_UNITS = 8.0  # error of exp, tanh or sin in units of `u` (4 ulp); half precision computes them in float32
_NO_ERROR = np.float64(0.0)
_LONGEST_SCAN = 1 << 15  # positions, evaluated one after the other
_SINGLE = 2.0**-24  # unit roundoff of float32
_EVALUATION_UNIT = 2.0**-53  # unit roundoff of this evaluation itself
_EXACT_OPERATORS = {
    "+": np.add, "-": np.subtract, "*": np.multiply,
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal,
}  # fmt: skip
_INTEGER_FUNCTIONS = {"where", "max", "min", "abs", "floor", "T"}  # give integers for integers

# unit roundoff -> half the smallest number; float32 and bfloat16 may flush subnormal numbers to zero
_SMALLEST = {
    2.0**-53: 2.0**-1022, 2.0**-24: 2.0**-126, 2.0**-10: 2.0**-126, 2.0**-11: 2.0**-25, 2.0**-8: 2.0**-25,
}  # fmt: skip

_product = lru_cache(maxsize=1024)(Product)

erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


Dims = tuple[str, ...]


class Symbols(Protocol):
    """What the evaluator asks for the values behind the names of a formula."""

    def value(self, name: str) -> Value | None:
        """A tensor or number by its symbol; None if the name is the size of a dimension."""

    def size(self, dim: str) -> int:
        """The full size of a dimension."""

    def lookup(self, table: str, index: Value) -> Value:
        """Rows of a tensor by index."""

    def select(self, name: str, dim: str, index: int) -> Value:
        """A tensor at one position of a dimension."""

    def positions(self, dim: str) -> Array:
        """The positions of a dimension that are evaluated."""

    def moved(self, leaf: Apply, numbers: tuple[int, ...]) -> Value:
        """A tensor after `rename`, `window` or `unwindow`."""


class Evaluator:
    """Evaluates the nodes of a formula and bounds the rounding error of the run.

    Args:
        symbols: gives the values of names.
        u: unit roundoff of the run's dtype, such as 2**-24 for float32.
        sum_u: unit roundoff in which sums accumulate; by default `u`.
        given: values of leaves (see `analysis.leaves`) that are known already.
        assume_distinct: take all terms of a sum to be distinct without looking at them (see `rounding`), which is
            quicker and never makes the bound larger.
    """

    def __init__(
        self,
        symbols: Symbols,
        u: float,
        sum_u: float | None = None,
        given: Mapping[Node, Value] | None = None,
        assume_distinct: bool = False,
    ) -> None:
        self._assume_distinct = assume_distinct
        self._symbols, self._given = symbols, given or {}
        self._u, self._sum_u = (unit + _EVALUATION_UNIT for unit in (u, u if sum_u is None else sum_u))
        self._library_units = 1.0 + _LIBRARY_UNITS * self._sum_u / self._u
        self._smallest = _SMALLEST.get(u, 0.0)
        self._values: dict[int, Value] = {}

    def evaluate(self, node: Node) -> Value:
        """Evaluate an expression; raises FormulaError if its dimensions do not fit."""
        with np.errstate(all="ignore"):
            return self._node(node)

    def numbers(self, node: Apply) -> tuple[int, ...]:
        """The integer arguments of a call."""
        each = zip(argument_kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
        return tuple([_integer(self.evaluate(a)) for kind, a in each if kind == "n"])

    def _node(self, node: Node) -> Value:
        """A node's value, cached, since an abbreviation may occur in many places."""
        found = self._values.get(id(node))
        if found is None:
            found = self._values[id(node)] = self._evaluate(node)
        return found

    def _evaluate(self, node: Node) -> Value:
        leaf = isinstance(node, (Name, Lookup, Select)) or (
            isinstance(node, Apply) and node.function in POSITION_FUNCTIONS
        )
        if leaf and node in self._given:
            return self._given[node]
        match node:
            case Number(value):
                return self._stored_unless_integer(constant(value))
            case Name(name):
                found = self._symbols.value(name)
                return self._stored_unless_integer(constant(self._symbols.size(name)) if found is None else found)
            case Negative(operand):
                inner = self._node(operand)
                return replace(inner, v=-to_float64(inner.v))
            case Select(Name(name), dim, index):
                return self._symbols.select(name, dim, index)
            case Lookup(Name(table), index):
                return self._symbols.lookup(table, self._node(index))
            case Operation("@", left, right):
                a, b = self._node(left), self._node(right)
                return self._dot(a, b, (inner_dim(a.dims, b.dims),))
            case Operation(operator, left, right):
                found = self._elementwise(operator, self._node(left), self._node(right))
                return self._any_order(found, _summands(node)) if operator in ("+", "-") else found
            case Apply("single", (x,)):
                return self._single(x)
            case Apply(function, arguments):
                given = zip(argument_kinds(function, len(arguments)) or "", arguments, strict=True)
                values = [self._node(a) for kind, a in given if kind == "x"]
                if function not in _INTEGER_FUNCTIONS or not all(x.integer for x in values):
                    values = [self._stored(x) for x in values]
                return self._apply(node, values, self.numbers(node))
        raise AssertionError(node)

    def _single(self, node: Node) -> Value:
        """A value that is computed in float32 whatever the run's dtype, and rounded to that in the end: what it is made
        of has not been cast to the run's dtype before."""
        exact = {
            leaf: Value(x.dims, x.v, shared_zeros(x.v.shape), x.start_units, x.integer)
            for leaf, x in self._given.items()
        }
        inner = Evaluator(self._symbols, min(self._u, _SINGLE), min(self._sum_u, _SINGLE), exact, self._assume_distinct)
        found = inner._node(node)
        return self._round(found.dims, to_float64(found.v), found.e)

    def _apply(self, node: Apply, values: list[Value], numbers: tuple[int, ...]) -> Value:
        function, names = node.function, named_dims(node)
        match function:
            case "pos":
                at = self._symbols.positions(names[0]).astype(np.float64)
                return Value(names, at, np.zeros_like(at), integer=True)
            case "causal":
                return self._causal(*names, *(a.id for a in node.arguments[2:] if isinstance(a, Name)))
            case "window" | "unwindow" | "rename":
                return self._symbols.moved(node, numbers)
            case "dot":
                return self._dot(values[0], values[1], reduced_dims(function, names, union(*(x.dims for x in values))))
            case "cumsum":
                return self._cumsum(values[0], reduced_dims(function, names, values[0].dims)[0])
            case "scan":
                return self._scan(values[0], values[1], names[0])
            case "T":
                x = values[0]
                return Value(swapped(x.dims), x.v.swapaxes(-1, -2), x.e.swapaxes(-1, -2))
        if function in REDUCTIONS:
            return self._reduce(function, values[0], reduced_dims(function, names, values[0].dims))
        if function in rearranging.FUNCTIONS:
            dims, _ = result_dims(node, [x.dims for x in values], {})
            return rearranging.FUNCTIONS[function](values, rearranging.Target(names, numbers, dims, self._symbols.size))
        found = self._function(function, values)
        return (
            replace(found, integer=True) if function in _INTEGER_FUNCTIONS and all(x.integer for x in values) else found
        )

    def _stored_unless_integer(self, x: Value) -> Value:
        """A constant or symbol; integers (sizes, positions) stay exact until they are combined with other numbers."""
        return x if x.integer else self._stored(x)

    def _stored(self, x: Value) -> Value:
        """A value as the run stores it: a scalar is rounded to the run's dtype unless a few bits hold it exactly."""
        if x.dims or not math.isfinite(x.v) or math.ldexp(math.frexp(x.v)[0], 8).is_integer():
            return replace(x, integer=False) if x.integer else x
        return Value(x.dims, x.v, x.e + self._u * np.abs(x.v))

    def _round(
        self,
        dims: tuple[str, ...],
        v: Array,
        e: Array,
        units: float = 1.0,
        sure: Callable[[], Array | bool] = lambda: True,
        start_units: Array | None = None,
    ) -> Value:
        """Add the rounding of the operation itself to a result.

        Args:
            dims: dimensions of the result.
            v: its values.
            e: the error propagated from the operands.
            units: rounding of the operation in units of `u`.
            sure: where an infinite or NaN value is certain, so that its error is 0; elsewhere it is infinite.
            start_units: see `Value`.
        """
        own = np.abs(v)
        own *= units * self._u
        own += units * self._smallest + e * (1 + units * self._u)
        e = own
        if math.isfinite(e.sum()):  # and so is v, whose size is part of it
            return Value(dims, v, e, start_units)
        e = np.where(np.isfinite(v), e, np.where(sure(), 0.0, np.inf))
        return Value(dims, v, np.where(np.isnan(e), np.inf, e), start_units)

    def _any_order(self, found: Value, terms: list[Node]) -> Value:
        """Widen the bound of a sum of three or more terms, which the run may have added in another order."""
        if len(terms) < 3 or found.integer:
            return found
        _, (_, *values), _ = aligned(found, *map(self._node, terms))
        more = (len(terms) - 2) * self._u * sum(map(np.abs, values))
        return replace(found, e=found.e + np.where(np.isfinite(more), more, 0.0))

    def _elementwise(self, operator: str, a: Value, b: Value) -> Value:
        exact = a.integer and b.integer and operator in _EXACT_OPERATORS
        if not exact:
            a, b = self._stored(a), self._stored(b)
        dims, (x, y), (p, q) = aligned(a, b)
        if exact:
            v = _EXACT_OPERATORS[operator](x, y)
            return Value(dims, v, shared_zeros(v.shape), integer=True)
        match operator:
            case "+" | "-":
                more, start_units = self._start_error(a, b, x, y)
                e = (_NO_ERROR if a.exact else p) + (_NO_ERROR if b.exact else q) + more
                return self._round(dims, x + y if operator == "+" else x - y, e, start_units=start_units)
            case "*":
                v, e = x * y, _NO_ERROR
                if not b.exact:
                    e = scaled_error(np.abs(x), q)
                if not a.exact:
                    e = e + scaled_error(np.abs(y) + q, p)
                start_units = b.start_units if not a.dims else a.start_units if not b.dims else None
                return self._round(
                    dims, v, e, sure=lambda: sign_certain(x, p) & sign_certain(y, q), start_units=start_units
                )
            case "/":
                v, e = x / y, _NO_ERROR
                if not (a.exact and b.exact):
                    e = (p + scaled_error(np.abs(v), q)) / (np.abs(y) - q)
                    if not (np.abs(y) > q).all():
                        e = np.where(sign_certain(x, p) & sign_certain(y, q) | (np.abs(y) > q), e, np.inf)
                        e = np.where((p == 0) & (q == 0), 0.0, e)
                start_units = None if b.dims else a.start_units
                return self._round(
                    dims, v, e, sure=lambda: sign_certain(x, p) & sign_certain(y, q), start_units=start_units
                )
            case "**":
                return self._power(dims, x, y, p, q)
        e = np.where((p + q > 0) & ~(np.abs(x - y) > p + q), 1.0, 0.0)  # rounding may decide the comparison
        return Value(dims, _EXACT_OPERATORS[operator](x, y), e)

    def _power(self, dims: tuple[str, ...], x: Array, y: Array, p: Array, q: Array) -> Value:
        v, size = x**y, np.abs(x)
        # x (1 ± r) to the power y ± q, as long as the base keeps its sign …
        log, r = np.log(size), np.where(p > 0, -np.log1p(-p / size), 0.0)
        near = np.abs(v) * np.expm1(scaled_error(np.abs(y), r) + scaled_error(np.abs(log) + r, q))
        # … and if it may not, a whole positive power is at most that of the largest base.
        integer = (y == np.round(y)) & (y > 0) & (q == 0)
        far = np.where(integer, (size + p) ** np.maximum(y, 0.0) + np.abs(v), np.inf)
        e = np.where(p < size, np.where((x > 0) | (q == 0), near, np.inf), far)
        e = np.where((p == 0) & (q == 0), 0.0, e)
        return self._round(dims, v, e, self._library_units, lambda: sign_certain(x, p) & sign_certain(y, q))

    @staticmethod
    def _start_error(a: Value, b: Value, x: Array, y: Array) -> tuple[Array | float, Array | None]:
        """The extra error if a sum started from the number that is added to it, as a matrix product with a bias may.

        Each rounding of the sum may then be as large as that number allows. `x` and `y` are the aligned values of `a`
        and `b`. Returns the error, and `start_units` of the result."""
        if a.start_units is None and b.start_units is None:
            return 0.0, None
        both = [
            Value(v.dims, np.zeros((1,) * v.v.ndim) if v.start_units is None else v.start_units, v.e) for v in (a, b)
        ]
        _, (s, t), _ = aligned(*both)
        if a.start_units is None:
            return scaled_error(_finite(x), t), t
        if b.start_units is None:
            return scaled_error(_finite(y), s), s
        return s * _finite(y) + t * _finite(x), np.maximum(s, t)

    def _dot(self, a: Value, b: Value, over: tuple[str, ...]) -> Value:
        both = union(a.dims, b.dims)
        dims = without(both, over)
        check_size(dims, a, b)
        check_size(both, a, b, most=MAX_PRODUCTS)
        product = _product(a.dims, b.dims, dims, over)
        v, size = product(a.v, b.v)
        e: Array = _NO_ERROR
        if not b.exact:
            _, e = product(a.v, b.e)
        if not a.exact:
            e = e + product(a.e, b.v if b.exact else np.abs(to_float64(b.v)) + b.e)[1]
        terms = math.prod(next(x.v.shape[x.dims.index(d)] for x in (a, b) if d in x.dims) for d in over)
        distinct: Array | float = math.inf
        if not self._assume_distinct:
            _, (p, q), _ = aligned(*(_distinct_terms(x, over) for x in (a, b)))
            distinct = np.maximum(p, q)
        units = rounding.units(terms, distinct) * self._sum_u
        # Half precision may round partial sums, whose typical size is the sum of magnitudes over the root of n.
        e = e + (self._u / math.sqrt(terms) + units) * (size + e) + self._smallest
        return self._round(dims, v, e, start_units=np.full(v.shape, self._u + units))

    def _reduce(self, function: str, x: Value, over: tuple[str, ...]) -> Value:
        if function == "softmax":
            return self._softmax(replace(x, v=to_float64(x.v)), x.dims.index(over[0]))
        rest = without(x.dims, over)
        x = reordered(x, (*rest, *over))
        shape = (*x.v.shape[: len(rest)], -1)
        values, e = to_float64(x.v).reshape(shape), shared_zeros((1,)) if x.exact else x.e.reshape(shape)
        if function in ("amax", "amin"):
            extreme = np.max if function == "amax" else np.min
            v = extreme(values, -1)
            # what lies far from the extremum cannot become it, however uncertain
            off = np.maximum(np.abs(extreme(values + e, -1) - v), np.abs(extreme(values - e, -1) - v))
            return Value(rest, v, np.where(np.isnan(off), np.inf, off) if np.any(e) else np.zeros(v.shape))
        if function == "var":
            return self._variance(rest, values, e)
        return self._sum(rest, values, e, mean=function == "mean")

    def _units(self, values: Array) -> Array:
        """The rounding error of sums along the last axis, relative to the sum of magnitudes."""
        units = rounding.units(values.shape[-1], math.inf) if self._assume_distinct else rounding.sum_units(values)
        return np.full(values.shape[:-1], units * self._sum_u)

    def _sum(self, dims: tuple[str, ...], values: Array, off: Array, mean: bool) -> Value:
        """The sum, or the mean, over the last axis; `off` is the error of `values`."""
        v, size, e, n = values.sum(-1), np.abs(values).sum(-1), off.sum(-1), values.shape[-1]
        units = self._units(values)
        e = e + units * (size + e)
        return self._round(dims, v / n, e / n) if mean else self._round(dims, v, e, start_units=units)

    def _cumsum(self, x: Value, dim: str) -> Value:
        axis = x.dims.index(dim)
        v = to_float64(x.v)
        size, e = np.abs(v).cumsum(axis), x.e.cumsum(axis)
        units = self._units(np.moveaxis(v, axis, -1))
        return self._round(x.dims, v.cumsum(axis), e + np.expand_dims(units, axis) * (size + e))

    def _scan(self, a: Value, b: Value, dim: str) -> Value:
        """The recurrence h[t] = a[t] h[t-1] + b[t] along a dimension, with h[-1] = 0."""
        dims, (x, y), (p, q) = aligned(a, b)
        axis = dims.index(dim)
        shape = np.broadcast_shapes(x.shape, y.shape)
        if shape[axis] > _LONGEST_SCAN:
            raise FormulaError(f"scan() runs along {dim} over {shape[axis]} positions, more than {_LONGEST_SCAN}")
        x, y, p, q = (np.moveaxis(np.broadcast_to(part, shape), axis, 0) for part in (x, y, p, q))
        v, e = np.empty(y.shape), np.empty(y.shape)
        h, off = np.zeros(y.shape[1:]), np.zeros(y.shape[1:])
        for t in range(len(y)):
            carried = x[t] * h
            off = (
                scaled_error(np.abs(x[t]), off)
                + scaled_error(np.abs(h) + off, p[t])
                + q[t]
                + self._u * (np.abs(carried) + off)
            )
            h = carried + y[t]
            off = off + self._u * (np.abs(h) + off) + self._smallest
            v[t], e[t] = h, off
        return self._round(dims, np.moveaxis(v, 0, axis), np.moveaxis(e, 0, axis))

    def _variance(self, dims: tuple[str, ...], values: Array, off: Array) -> Value:
        """The variance over the last axis; `off` is the error of `values`.

        The error of the mean contributes only squared, since differences from the true mean sum to zero. A running
        mean (Welford's algorithm) adds one rounding per step."""
        mean, n = self._sum(dims, values, off, mean=True), values.shape[-1]
        apart = mean.e[..., None]
        difference = np.abs(values - mean.v[..., None])
        own = np.abs(values)
        own *= 2 * self._sum_u
        own += self._u * difference
        own += (1 + self._u) * off + (self._u * apart + self._smallest)
        v = _sum_of_products(difference, difference) / n
        e = 2 * _sum_of_products(difference, own)
        own += apart
        e = (e + _sum_of_products(own, own)) / n
        e = e + (self._u + self._units(difference)) * (v + e) + self._smallest
        return self._round(dims, v, e)

    def _softmax(self, x: Value, axis: int) -> Value:
        """Softmax along an axis: an error of a score, or of its exponential, changes a weight by a factor."""
        highest = x.v.max(axis, keepdims=True)
        masked = np.isneginf(x.v)
        z = np.where(masked, -np.inf, x.v - highest)
        total = np.exp(z).sum(axis, keepdims=True)
        p = np.exp(z) / total
        off = np.where(masked & (x.e == 0), 0.0, x.e + self._u * np.abs(z) + self._u * (x.e + self._library_units))
        growth = np.log(np.exp(z + off).sum(axis, keepdims=True) / total)
        units = self._units(np.moveaxis(p, axis, -1))
        factor = off + growth + np.expand_dims(units, axis)
        # A weight that underflows to 0 here may be positive in the run: at most what the largest possible score gives.
        e = np.where(p > 0, p * np.expm1(factor), np.exp(z - np.log(total) + factor))
        e = np.where(np.isnan(e), 1.0, np.minimum(e, 1.0))
        return self._round(x.dims, p, np.where(masked & (x.e == 0), 0.0, e))

    def _causal(self, query: str, key: str, keys: str | None = None) -> Value:
        """The causal mask: 0 where a query sees a key, -inf where the key is later; the last query sees all keys that
        were written. The end of a static cache, all zero, was not; but after the first forward it may be the key of
        padding, whose embedding is zero."""
        written, asking = self._symbols.size(key), self._symbols.size(query)
        if keys is not None and written > asking:
            found = self._written(keys, key)
            if found < written and (asking == 1 or found > asking):
                raise FormulaError(f"{keys} ends in zeros, so how much of it was written cannot be told")
            written = max(found, asking)
        ahead = written - asking
        late = self._symbols.positions(key)[None, :] > self._symbols.positions(query)[:, None] + ahead
        return Value((query, key), np.where(late, -np.inf, 0.0), np.zeros(late.shape))

    def _written(self, keys: str, dim: str) -> int:
        """The number of positions along a dimension of a tensor up to the last one that is not all zero."""
        found = self._symbols.value(keys)
        if found is None or dim not in found.dims:
            return self._symbols.size(dim)
        others = tuple(axis for axis, name in enumerate(found.dims) if name != dim)
        there = np.flatnonzero((found.v != 0).any(others))
        if not len(there):
            raise FormulaError(f"{keys} is zero everywhere, so how much of it was written cannot be told")
        return int(there[-1]) + 1

    def _function(self, function: str, args: list[Value]) -> Value:
        x = args[0]
        v, e, d = x.v, x.e, x.dims
        if function in ("mask", "hide"):  # `mask` keeps and `hide` hides what is True; additive masks stay as they are
            seen, hidden = (0.0, -np.inf) if function == "mask" else (-np.inf, 0.0)
            return Value(d, np.where(v, seen, hidden), np.where(e > 0, np.inf, 0.0)) if v.dtype == np.bool_ else x
        if function == "where":
            dims, (c, a, b), (o, p, q) = aligned(*args)
            apart = np.where((o > 0) & (a != b), np.abs(a - b), 0.0)
            e = np.where(o > 0, apart + np.maximum(p, q), np.where(c, p, q))
            return Value(dims, np.where(c, a, b), np.where(np.isnan(e), np.inf, e))
        if function in ("max", "min"):
            dims, (a, b), (p, q) = aligned(*args)
            return Value(dims, (np.maximum if function == "max" else np.minimum)(a, b), np.maximum(p, q))
        v = to_float64(v)
        least = np.maximum(np.abs(v) - e, 0.0)  # the smallest magnitude that the run's value may have
        match function:
            case "abs":
                return Value(d, np.abs(v), e)
            case "sqrt":
                sure = sign_certain(v, e)  # if not, the run may have taken the root of a negative number
                v, e = np.sqrt(v), np.where(sure, scaled_error(1 / np.sqrt(v), e), np.inf)
                return self._round(d, v, e, 2.0, lambda: sure)  # not every library rounds it correctly
            case "exp":
                grown = np.where(e < 1, np.exp(v) * np.expm1(e), np.exp(v + e) - np.exp(v))
                return self._round(d, np.exp(v), grown, self._library_units)
            case "log":
                sure = sign_certain(v, e)
                return self._round(d, np.log(v), np.where(e > 0, e / least, 0.0), self._library_units, lambda: sure)
            case "log1p":
                sure = (e == 0) | (1 + v > e)
                off = np.where(e > 0, np.where(sure, e / (1 + v - e), np.inf), 0.0)
                return self._round(d, np.log1p(v), off, self._library_units, lambda: sure)
            case "floor":
                return Value(d, np.floor(v), np.floor(v + e) - np.floor(v - e))
            case "tanh":
                return self._round(d, np.tanh(v), np.minimum(e * (1 - np.tanh(least) ** 2), 2.0), self._library_units)
            case "erf":
                slope = 2 / math.sqrt(math.pi) * np.exp(-(least**2))
                # the error of torch's erf is relative to 1, not to its result
                return self._round(d, erf(v), np.minimum(e * slope, 2.0) + _LIBRARY_UNITS * self._sum_u)
            case "sigmoid":
                low = 1 / (1 + np.exp(least))
                return self._round(d, 1 / (1 + np.exp(-v)), np.minimum(e * low * (1 - low), 1.0), self._library_units)
            case "sin" | "cos":
                return self._round(d, getattr(np, function)(v), np.minimum(e, 2.0), self._library_units)
        raise AssertionError(function)


def _sum_of_products(x: Array, y: Array) -> Array:
    """The sum of products along the last axis."""
    found: Array = np.einsum("...i,...i->...", x, y)
    return found


def _distinct_terms(x: Value, over: tuple[str, ...]) -> Value:
    """The number of distinct terms in each sum of a value over some dimensions; 1 if it has none of them."""
    own = tuple(d for d in over if d in x.dims)
    rest = without(x.dims, own)
    v = to_float64(reordered(x, (*rest, *own)).v)
    found = rounding.distinct_terms(v.reshape(*v.shape[: len(rest)], -1)) if own else np.ones(v.shape)
    return Value(rest, found, np.zeros(found.shape))


def _finite(x: Array) -> Array:
    """Magnitudes, with 0 for infinite and NaN values."""
    size = np.abs(x)
    return size if math.isfinite(size.sum()) else np.where(np.isfinite(size), size, 0.0)


def _summands(node: Node) -> list[Node]:
    """The terms of a chain of additions and subtractions, the last one first."""
    found = []
    while isinstance(node, Operation) and node.operator in ("+", "-"):
        found.append(node.right)
        node = node.left
    return [*found, node]


def _integer(x: Value) -> int:
    """A scalar truncated to an integer; raises FormulaError if it has dimensions or is too large."""
    if x.v.ndim or not abs(float(x.v)) < 1 << 31:
        raise FormulaError("the formula needs one whole number there")
    return int(x.v)
