"""Evaluates a formula in float64 on named dimensions, and with each value a bound on what rounding did to it.

The bound is a running error analysis: every operation adds the unit roundoff `u` of the run's dtype times the size
of its result to what its operands bring along, and a sum what `rounding` says. It is derived in docs/recipes.md.
Underflow adds half the smallest number of the dtype. Overflow is not rounding: a run that becomes infinite differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..formula.analysis import inner_dim, named, reduced_dims, result_dims, swapped, union, without
from ..formula.functions import PLACES, REDUCTIONS, kinds
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select
from . import rearranging, rounding
from .products import Product
from .value import (
    MAX_PRODUCTS,
    Array,
    Value,
    aligned,
    certain,
    check_size,
    constant,
    real,
    times,
    to_order,
    zeros,
)

_LIBRARY = 8.0  # units `u` (four in the last place) that exp, tanh or sin may be off; half precision uses float32's
_NONE = np.float64(0.0)  # no error
_LONGEST_SCAN = 1 << 15  # positions, one after the other
_OWN = 2.0**-53  # what this evaluation rounds by itself
_EXACT = {
    "+": np.add, "-": np.subtract, "*": np.multiply,
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal,
}  # fmt: skip
_WHOLE = {"where", "max", "min", "abs", "floor", "T"}  # what they make of whole numbers is whole

# unit roundoff -> half the smallest number; float32 and bfloat16 may be flushed to zero below their normal numbers
_TINY = {2.0**-53: 2.0**-1022, 2.0**-24: 2.0**-126, 2.0**-11: 2.0**-25, 2.0**-8: 2.0**-25}

erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


Dims = tuple[str, ...]


class Symbols(Protocol):
    """Where the evaluator finds what a name stands for."""

    def value(self, name: str) -> Value | None: ...
    def size(self, dim: str) -> int: ...
    def lookup(self, table: str, index: Value) -> Value: ...
    def select(self, name: str, dim: str, index: int) -> Value: ...
    def positions(self, dim: str) -> Array: ...
    def moved(self, leaf: Apply, numbers: tuple[int, ...]) -> Value: ...


class Evaluator:
    """Evaluates nodes over `symbols`, for a run whose unit roundoff is `u` (`sum_u` where sums accumulate).

    The values of leaves (see `analysis.leaves`) that are `given` are not asked for again. `varied`: the terms of sums
    are taken to differ without a look at them, which is quicker and may make the bound smaller, but never larger."""

    def __init__(
        self,
        symbols: Symbols,
        u: float,
        sum_u: float | None = None,
        given: Mapping[Node, Value] | None = None,
        varied: bool = False,
    ) -> None:
        self._varied = varied
        self._symbols, self._given = symbols, given or {}
        self._u, self._sum_u = (unit + _OWN for unit in (u, u if sum_u is None else sum_u))
        self._library = 1.0 + _LIBRARY * self._sum_u / self._u
        self._tiny = _TINY.get(u, 0.0)
        self._known: dict[int, Value] = {}

    def evaluate(self, node: Node) -> Value:
        """The value of an expression; raises FormulaError where its dimensions do not fit."""
        with np.errstate(all="ignore"):
            return self._node(node)

    def numbers(self, node: Apply) -> tuple[int, ...]:
        """The whole numbers among the arguments of a call."""
        each = zip(kinds(node.function, len(node.arguments)) or "", node.arguments, strict=True)
        return tuple([_whole(self.evaluate(a)) for kind, a in each if kind == "n"])

    def _node(self, node: Node) -> Value:
        """A node's value; an abbreviation that stands in many places is evaluated once."""
        found = self._known.get(id(node))
        if found is None:
            found = self._known[id(node)] = self._evaluate(node)
        return found

    def _evaluate(self, node: Node) -> Value:
        leaf = isinstance(node, (Name, Lookup, Select)) or (isinstance(node, Apply) and node.function in PLACES)
        if leaf and node in self._given:
            return self._given[node]
        match node:
            case Number(value):
                return self._held(constant(value))
            case Name(name):
                found = self._symbols.value(name)
                return self._held(constant(self._symbols.size(name)) if found is None else found)
            case Negative(operand):
                inner = self._node(operand)
                return replace(inner, v=-real(inner.v))
            case Select(Name(name), dim, index):
                return self._symbols.select(name, dim, index)
            case Lookup(Name(table), index):
                return self._symbols.lookup(table, self._node(index))
            case Operation("@", left, right):
                a, b = self._node(left), self._node(right)
                return self._dot(a, b, (inner_dim(a.dims, b.dims),))
            case Operation(operator, left, right):
                found = self._elementwise(operator, self._node(left), self._node(right))
                return self._in_any_order(found, _summands(node)) if operator in ("+", "-") else found
            case Apply(function, arguments):
                given = zip(kinds(function, len(arguments)) or "", arguments, strict=True)
                values = [self._node(a) for kind, a in given if kind == "x"]
                if function not in _WHOLE or not all(x.whole for x in values):
                    values = [self._stored(x) for x in values]
                return self._apply(node, values, self.numbers(node))
        raise AssertionError(node)

    def _apply(self, node: Apply, values: list[Value], numbers: tuple[int, ...]) -> Value:
        function, names = node.function, named(node)
        match function:
            case "pos":
                at = self._symbols.positions(names[0]).astype(np.float64)
                return Value(names, at, np.zeros_like(at), whole=True)
            case "causal":
                return self._causal(*names)
            case "window" | "unwindow" | "rename":
                return self._symbols.moved(node, numbers)
            case "dot":
                return self._dot(values[0], values[1], reduced_dims(function, names, union(*(x.dims for x in values))))
            case "cumsum":
                return self._cumulated(values[0], reduced_dims(function, names, values[0].dims)[0])
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
        return replace(found, whole=True) if function in _WHOLE and all(x.whole for x in values) else found

    def _held(self, x: Value) -> Value:
        """A number as it is had: whole ones (sizes, positions) are stored only where they meet others."""
        return x if x.whole else self._stored(x)

    def _stored(self, x: Value) -> Value:
        """A number as the run holds it beside others: rounded, unless a few bits are enough for it."""
        if x.dims or not math.isfinite(x.v) or math.ldexp(math.frexp(x.v)[0], 8).is_integer():
            return replace(x, whole=False) if x.whole else x
        return Value(x.dims, x.v, x.e + self._u * np.abs(x.v))

    def _round(
        self,
        dims: tuple[str, ...],
        v: Array,
        e: Array,
        units: float = 1.0,
        sure: Callable[[], Array | bool] = lambda: True,
        begun: Array | None = None,
    ) -> Value:
        """A result with its own rounding added; one that is surely infinite or NaN has none."""
        own = np.abs(v)
        own *= units * self._u
        own += units * self._tiny + e * (1 + units * self._u)
        e = own
        if math.isfinite(e.sum()):  # and so is v, whose size is part of it
            return Value(dims, v, e, begun)
        e = np.where(np.isfinite(v), e, np.where(sure(), 0.0, np.inf))
        return Value(dims, v, np.where(np.isnan(e), np.inf, e), begun)

    def _in_any_order(self, found: Value, terms: list[Node]) -> Value:
        """A sum of three or more terms, whose partial sums the run may have rounded in another order."""
        if len(terms) < 3 or found.whole:
            return found
        _, (_, *values), _ = aligned(found, *map(self._node, terms))
        more = (len(terms) - 2) * self._u * sum(map(np.abs, values))
        return replace(found, e=found.e + np.where(np.isfinite(more), more, 0.0))

    def _elementwise(self, operator: str, a: Value, b: Value) -> Value:
        exact = a.whole and b.whole and operator in _EXACT
        if not exact:
            a, b = self._stored(a), self._stored(b)
        dims, (x, y), (p, q) = aligned(a, b)
        if exact:
            v = _EXACT[operator](x, y)
            return Value(dims, v, zeros(v.shape), whole=True)
        match operator:
            case "+" | "-":
                more, begun = self._begun(a, b, x, y)
                e = (_NONE if a.exact else p) + (_NONE if b.exact else q) + more
                return self._round(dims, x + y if operator == "+" else x - y, e, begun=begun)
            case "*":
                v, e = x * y, _NONE
                if not b.exact:
                    e = times(np.abs(x), q)
                if not a.exact:
                    e = e + times(np.abs(y) + q, p)
                begun = b.begun if not a.dims else a.begun if not b.dims else None
                return self._round(dims, v, e, sure=lambda: certain(x, p) & certain(y, q), begun=begun)
            case "/":
                v, e = x / y, _NONE
                if not (a.exact and b.exact):
                    e = (p + times(np.abs(v), q)) / (np.abs(y) - q)
                    if not (np.abs(y) > q).all():
                        e = np.where(certain(x, p) & certain(y, q) | (np.abs(y) > q), e, np.inf)
                        e = np.where((p == 0) & (q == 0), 0.0, e)
                begun = None if b.dims else a.begun
                return self._round(dims, v, e, sure=lambda: certain(x, p) & certain(y, q), begun=begun)
            case "**":
                return self._power(dims, x, y, p, q)
        e = np.where((p + q > 0) & ~(np.abs(x - y) > p + q), 1.0, 0.0)  # rounding may decide it
        return Value(dims, _EXACT[operator](x, y), e)

    def _power(self, dims: tuple[str, ...], x: Array, y: Array, p: Array, q: Array) -> Value:
        v, size = x**y, np.abs(x)
        # x (1 ± r) to the power y ± q, as long as the base keeps its sign …
        log, r = np.log(size), np.where(p > 0, -np.log1p(-p / size), 0.0)
        near = np.abs(v) * np.expm1(times(np.abs(y), r) + times(np.abs(log) + r, q))
        # … and if it may not, a whole positive power is at most that of the largest base.
        whole = (y == np.round(y)) & (y > 0) & (q == 0)
        far = np.where(whole, (size + p) ** np.maximum(y, 0.0) + np.abs(v), np.inf)
        e = np.where(p < size, np.where((x > 0) | (q == 0), near, np.inf), far)
        e = np.where((p == 0) & (q == 0), 0.0, e)
        return self._round(dims, v, e, self._library, lambda: certain(x, p) & certain(y, q))

    @staticmethod
    def _begun(a: Value, b: Value, x: Array, y: Array) -> tuple[Array | float, Array | None]:
        """What it costs that a sum may have begun with the number that is added to it: each of its roundings may be of
        that size. `x` and `y` are the values of `a` and `b`, aligned."""
        if a.begun is None and b.begun is None:
            return 0.0, None
        both = [Value(v.dims, np.zeros((1,) * v.v.ndim) if v.begun is None else v.begun, v.e) for v in (a, b)]
        _, (s, t), _ = aligned(*both)
        if a.begun is None:
            return times(_finite(x), t), t
        if b.begun is None:
            return times(_finite(y), s), s
        return s * _finite(y) + t * _finite(x), np.maximum(s, t)

    def _dot(self, a: Value, b: Value, over: tuple[str, ...]) -> Value:
        both = union(a.dims, b.dims)
        dims = without(both, over)
        check_size(dims, a, b)
        check_size(both, a, b, most=MAX_PRODUCTS)
        product = Product(a.dims, b.dims, dims, over)
        v, size = product(a.v, b.v)
        e: Array = _NONE
        if not b.exact:
            _, e = product(a.v, b.e)
        if not a.exact:
            e = e + product(a.e, b.v if b.exact else np.abs(real(b.v)) + b.e)[1]
        terms = math.prod(next(x.v.shape[x.dims.index(d)] for x in (a, b) if d in x.dims) for d in over)
        distinct: Array | float = math.inf
        if not self._varied:
            _, (p, q), _ = aligned(*(_variety(x, over) for x in (a, b)))
            distinct = np.maximum(p, q)
        units = rounding.units(terms, distinct) * self._sum_u
        # Half precision may round partial sums, whose size is that of their terms over the root of their number.
        e = e + (self._u / math.sqrt(terms) + units) * (size + e) + self._tiny
        return self._round(dims, v, e, begun=np.full(v.shape, self._u + units))

    def _reduce(self, function: str, x: Value, over: tuple[str, ...]) -> Value:
        if function == "softmax":
            return self._softmax(replace(x, v=real(x.v)), x.dims.index(over[0]))
        rest = without(x.dims, over)
        x = to_order(x, (*rest, *over))
        shape = (*x.v.shape[: len(rest)], -1)
        values, e = real(x.v).reshape(shape), zeros((1,)) if x.exact else x.e.reshape(shape)
        if function in ("amax", "amin"):  # neither moves by more than what it is chosen from
            v = values.max(-1) if function == "amax" else values.min(-1)
            return Value(rest, v, np.broadcast_to(e.max(-1), v.shape))
        if function == "var":
            return self._variance(rest, values, e)
        return self._sum(rest, values, e, mean=function == "mean")

    def _units(self, values: Array) -> Array:
        """For sums along the last axis: what rounding may do to them, as a share of the sum of magnitudes."""
        units = rounding.units(values.shape[-1], math.inf) if self._varied else rounding.sum_units(values)
        return np.full(values.shape[:-1], units * self._sum_u)

    def _sum(self, dims: tuple[str, ...], values: Array, off: Array, mean: bool) -> Value:
        """Over the last axis."""
        v, size, e, n = values.sum(-1), np.abs(values).sum(-1), off.sum(-1), values.shape[-1]
        units = self._units(values)
        e = e + units * (size + e)
        return self._round(dims, v / n, e / n) if mean else self._round(dims, v, e, begun=units)

    def _cumulated(self, x: Value, dim: str) -> Value:
        axis = x.dims.index(dim)
        v = real(x.v)
        size, e = np.abs(v).cumsum(axis), x.e.cumsum(axis)
        units = self._units(np.moveaxis(v, axis, -1))
        return self._round(x.dims, v.cumsum(axis), e + np.expand_dims(units, axis) * (size + e))

    def _scan(self, a: Value, b: Value, dim: str) -> Value:
        """h[t] = a[t] h[t-1] + b[t] along a dimension, from nothing."""
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
            off = times(np.abs(x[t]), off) + times(np.abs(h) + off, p[t]) + q[t] + self._u * (np.abs(carried) + off)
            h = carried + y[t]
            off = off + self._u * (np.abs(h) + off) + self._tiny
            v[t], e[t] = h, off
        return self._round(dims, np.moveaxis(v, 0, axis), np.moveaxis(e, 0, axis))

    def _variance(self, dims: tuple[str, ...], values: Array, off: Array) -> Value:
        """Over the last axis. The error of the mean counts squared only, since the differences from the true mean sum
        to zero; where it is a running one (Welford), each of its steps adds a rounding of its own."""
        mean, n = self._sum(dims, values, off, mean=True), values.shape[-1]
        apart = mean.e[..., None]
        difference = np.abs(values - mean.v[..., None])
        own = np.abs(values)
        own *= 2 * self._sum_u
        own += self._u * difference
        own += (1 + self._u) * off + (self._u * apart + self._tiny)
        v = _sum_of_products(difference, difference) / n
        e = 2 * _sum_of_products(difference, own)
        own += apart
        e = (e + _sum_of_products(own, own)) / n
        e = e + (self._u + self._units(difference)) * (v + e) + self._tiny
        return self._round(dims, v, e)

    def _softmax(self, x: Value, axis: int) -> Value:
        """In logarithms: what the scores are off by, and what the exponentials add, moves a weight by a factor."""
        highest = x.v.max(axis, keepdims=True)
        masked = np.isneginf(x.v)
        z = np.where(masked, -np.inf, x.v - highest)
        total = np.exp(z).sum(axis, keepdims=True)
        p = np.exp(z) / total
        off = np.where(masked & (x.e == 0), 0.0, x.e + self._u * (np.abs(z) + x.e + self._library))
        growth = np.log(np.exp(z + off).sum(axis, keepdims=True) / total)
        units = self._units(np.moveaxis(p, axis, -1))
        factor = off + growth + np.expand_dims(units, axis)
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
        if function in ("mask", "hide"):  # a boolean mask keeps, or hides, what is True; an additive one stays as it is
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
        v = real(v)
        least = np.maximum(np.abs(v) - e, 0.0)  # the nearest to zero that the run's own may be
        match function:
            case "abs":
                return Value(d, np.abs(v), e)
            case "sqrt":
                sure = certain(v, e)  # if not, the run may have taken the root of a negative number
                v, e = np.sqrt(v), np.where(sure, times(1 / np.sqrt(v), e), np.inf)
                return self._round(d, v, e, 2.0, lambda: sure)  # not every library rounds it correctly
            case "exp":
                return self._round(d, np.exp(v), np.exp(v) * np.expm1(e), self._library)
            case "log":
                sure = certain(v, e)
                return self._round(d, np.log(v), np.where(e > 0, e / least, 0.0), self._library, lambda: sure)
            case "log1p":
                sure = (e == 0) | (1 + v > e)
                off = np.where(e > 0, np.where(sure, e / (1 + v - e), np.inf), 0.0)
                return self._round(d, np.log1p(v), off, self._library, lambda: sure)
            case "floor":
                return Value(d, np.floor(v), np.floor(v + e) - np.floor(v - e))
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


def _sum_of_products(x: Array, y: Array) -> Array:
    """Along the last axis."""
    found: Array = np.einsum("...i,...i->...", x, y)
    return found


def _variety(x: Value, over: tuple[str, ...]) -> Value:
    """How many distinct terms each cell of a sum along some dimensions takes from a value; 1 if it has none of them."""
    own = tuple(d for d in over if d in x.dims)
    rest = without(x.dims, own)
    v = real(to_order(x, (*rest, *own)).v)
    found = rounding.variety(v.reshape(*v.shape[: len(rest)], -1)) if own else np.ones(v.shape)
    return Value(rest, found, np.zeros(found.shape))


def _finite(x: Array) -> Array:
    """Magnitudes; 0 where there is none."""
    size = np.abs(x)
    return size if math.isfinite(size.sum()) else np.where(np.isfinite(size), size, 0.0)


def _summands(node: Node) -> list[Node]:
    """The terms of a chain of sums and differences, as it is written from left to right."""
    found = []
    while isinstance(node, Operation) and node.operator in ("+", "-"):
        found.append(node.right)
        node = node.left
    return [*found, node]


def _whole(x: Value) -> int:
    if x.v.ndim or not abs(float(x.v)) < 1 << 31:
        raise FormulaError("the formula needs one whole number there")
    return int(x.v)
