"""Expands one cell of an expression into a sum of terms, each a product of cells of tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..formula.analysis import inner_dim, named_dims, reduced_dims, swapped, union
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select, to_text
from .evaluator import Evaluator
from .value import Value

MOST = 1 << 17  # most terms of one cell
_DEEP = 40  # nested sums and products that are expanded

Where = Mapping[str, int]  # a position along each dimension


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a term: a cell of a tensor, or the value of an expression at a cell."""

    node: Node
    value: float
    where: Where
    inverse: bool = False  # whether the term is divided by it

    @property
    def text(self) -> str:
        """The factor as written in the formula."""
        return to_text(self.node)


@dataclass(frozen=True, slots=True)
class Summand:
    """One term of the sum, a product of factors; `along` has its positions along the dimensions that are summed."""

    value: float
    factors: tuple[Factor, ...]
    along: Where


class Terms:
    """Expands expressions at one cell; each drawn dimension has one position."""

    def __init__(self, evaluator: Evaluator, drawn: Where) -> None:
        self._evaluator, self._drawn = evaluator, drawn

    def of(self, node: Node, where: Where) -> list[Summand]:
        """The terms of a node at a cell, which add up to its value; raises FormulaError if there are too many."""
        summands = list(itertools.islice(self._summands(node, where, {}, 0), MOST + 1))
        if len(summands) > MOST:
            raise FormulaError(f"the cell is a sum of more than {MOST} terms")
        return summands

    def value(self, node: Node, where: Where) -> float:
        """The value of a node at a cell."""
        return float(self._at(self._evaluator.evaluate(node), where))

    def bound(self, node: Node, where: Where) -> float:
        """The largest difference from the run's value that rounding explains, at a cell."""
        found = self._evaluator.evaluate(node)
        return float(self._at(replace(found, v=found.e), where))

    def _at(self, x: Value, where: Where, free: tuple[str, ...] = ()) -> np.ndarray:
        """A value at a cell; an array along the `free` dimensions, in this order."""
        v = np.asarray(x.v, np.float64)
        known = {*free, *self._drawn, *where}
        wide = [d for d, size in zip(x.dims, v.shape, strict=True) if size > 1 and d not in known]
        if wide:
            said = f"The equation is of every {wide[0]} at once, so that no single cell has terms of its own."
            raise FormulaError(said)
        index = [slice(None) if d in free else 0 if d in self._drawn else where.get(d, 0) for d in x.dims]
        found = v[tuple(index)]
        kept = [d for d in x.dims if d in free]
        found = np.transpose(found, [kept.index(d) for d in free if d in kept])
        return found[tuple(slice(None) if d in kept else None for d in free)]

    def _summands(self, node: Node, where: Where, along: Where, depth: int) -> Iterator[Summand]:
        if depth > _DEEP:
            yield self._single(node, where, along)
            return
        match node:
            case Operation("+" | "-" as operator, left, right):
                yield from self._summands(left, where, along, depth + 1)
                for summand in self._summands(right, where, along, depth + 1):
                    yield summand if operator == "+" else _scaled(summand, -1.0)
            case Negative(operand):
                for summand in self._summands(operand, where, along, depth + 1):
                    yield _scaled(summand, -1.0)
            case Operation("*", left, right):
                many, one = (right, left) if _is_sum(right) and not _is_sum(left) else (left, right)
                yield from self._times(many, self._factors(one, where, along), where, along, depth)
            case Operation("/", left, right):
                divisor = self._factor(right, where, inverse=True)
                yield from self._times(left, (divisor,), where, along, depth)
            case Operation("@", left, right):
                dims = (self._dims(left), self._dims(right))
                yield from self._products(left, right, (inner_dim(*dims),), where, along)
            case Apply("dot", (left, right, *_)):
                over = reduced_dims("dot", named_dims(node), union(self._dims(left), self._dims(right)))
                yield from self._products(left, right, over, where, along)
            case Apply("sum" | "mean" as function, (inner, *_)) if function == "sum" or depth == 0:
                over = reduced_dims(function, named_dims(node), self._dims(inner))
                values = self._at(self._evaluator.evaluate(inner), where, over)
                count = values.size if function == "mean" else 1
                for at in np.ndindex(values.shape):
                    place = dict(zip(over, at, strict=True))
                    factor = Factor(inner, float(values[at]), {**where, **place})
                    yield Summand(factor.value / count, (factor,), {**along, **place})
            case Apply("T", (inner,)):
                swapped(self._dims(inner))
                yield from self._summands(inner, where, along, depth + 1)
            case Apply("where", (condition, yes, no)):
                chosen = yes if self.value(condition, where) else no
                yield from self._summands(chosen, where, along, depth + 1)
            case _:
                yield self._single(node, where, along)

    def _products(
        self, left: Node, right: Node, over: tuple[str, ...], where: Where, along: Where
    ) -> Iterator[Summand]:
        a, b = (self._at(self._evaluator.evaluate(part), where, over) for part in (left, right))
        a, b = np.broadcast_arrays(a, b)
        for at in np.ndindex(a.shape):
            place = dict(zip(over, at, strict=True))
            there = {**where, **place}
            factors = (Factor(left, float(a[at]), there), Factor(right, float(b[at]), there))
            yield Summand(factors[0].value * factors[1].value, factors, {**along, **place})

    def _times(
        self, many: Node, factors: tuple[Factor, ...], where: Where, along: Where, depth: int
    ) -> Iterator[Summand]:
        by = 1.0
        for factor in factors:
            with np.errstate(all="ignore"):
                by = float(np.divide(by, factor.value)) if factor.inverse else by * factor.value
        for summand in self._summands(many, where, along, depth + 1):
            yield Summand(summand.value * by, (*summand.factors, *factors), summand.along)

    def _factors(self, node: Node, where: Where, along: Where) -> tuple[Factor, ...]:
        """The factors of a node; one if it is no product."""
        match node:
            case Operation("*", left, right):
                return self._factors(left, where, along) + self._factors(right, where, along)
            case Operation("/", left, right):
                return (*self._factors(left, where, along), self._factor(right, where, inverse=True))
        return (self._factor(node, where),)

    def _factor(self, node: Node, where: Where, inverse: bool = False) -> Factor:
        return Factor(node, self.value(node, where), where, inverse)

    def _single(self, node: Node, where: Where, along: Where) -> Summand:
        factor = self._factor(node, where)
        return Summand(factor.value, (factor,), along)

    def _dims(self, node: Node) -> tuple[str, ...]:
        return self._evaluator.evaluate(node).dims


def _is_sum(node: Node) -> bool:
    """Whether expanding a node gives several terms."""
    match node:
        case Operation("+" | "-" | "@", _, _) | Apply("dot" | "sum", _):
            return True
        case Operation("*" | "/", left, right):
            return _is_sum(left) or (node.operator == "*" and _is_sum(right))
        case Negative(operand):
            return _is_sum(operand)
    return False


def _scaled(summand: Summand, by: float) -> Summand:
    minus = Factor(Number(by), by, {})
    return Summand(summand.value * by, (minus, *summand.factors), summand.along)


def tensor_of(node: Node) -> str | None:
    """The tensor that a factor is a cell of; None if it is a computed value."""
    match node:
        case Name(name) | Select(Name(name), _, _) | Lookup(Name(name), _):
            return name
        case Apply("T", (inner,)):
            return tensor_of(inner)
    return None
