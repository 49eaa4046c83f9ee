"""One cell of an expression as a sum: each sum and product is taken apart into its terms, down to cells of tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..formula.analysis import inner_dim, named, reduced_dims, swapped, union
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Lookup, Name, Negative, Node, Number, Operation, Select, written
from .evaluator import Evaluator
from .value import Value

MOST = 1 << 17  # terms of one cell
_DEEP = 40  # sums and products inside one another

Where = Mapping[str, int]  # a position along each dimension


@dataclass(frozen=True, slots=True)
class Factor:
    """A number that a term is a product of: a cell of a tensor, or what an expression gives there."""

    node: Node
    value: float
    where: Where
    inverse: bool = False  # whether it is divided by

    @property
    def text(self) -> str:
        """As the formula writes it."""
        return written(self.node)


@dataclass(frozen=True, slots=True)
class Piece:
    """One term: a product of factors. `along` names positions of dimensions that were summed over."""

    value: float
    factors: tuple[Factor, ...]
    along: Where


class Terms:
    """Takes expressions apart at one cell, whose drawn dimensions have one position each."""

    def __init__(self, evaluator: Evaluator, drawn: Where) -> None:
        self._evaluator, self._drawn = evaluator, drawn

    def of(self, node: Node, where: Where) -> list[Piece]:
        """The terms of a node at a cell; their sum is its value there."""
        pieces = list(itertools.islice(self._pieces(node, where, {}, 0), MOST + 1))
        if len(pieces) > MOST:
            raise FormulaError(f"the cell is a sum of more than {MOST} terms")
        return pieces

    def value(self, node: Node, where: Where) -> float:
        """What a node is at a cell."""
        return float(self._at(self._evaluator.evaluate(node), where))

    def bound(self, node: Node, where: Where) -> float:
        """How far the run's own may be from it through rounding."""
        found = self._evaluator.evaluate(node)
        return float(self._at(replace(found, v=found.e), where))

    def _at(self, x: Value, where: Where, free: tuple[str, ...] = ()) -> np.ndarray:
        """The cell of a value; an array along dimensions that are left free, in this order."""
        v = np.asarray(x.v, np.float64)
        index = [slice(None) if d in free else 0 if d in self._drawn else where[d] for d in x.dims]
        found = v[tuple(index)]
        kept = [d for d in x.dims if d in free]
        found = np.transpose(found, [kept.index(d) for d in free if d in kept])
        return found[tuple(slice(None) if d in kept else None for d in free)]

    def _pieces(self, node: Node, where: Where, along: Where, depth: int) -> Iterator[Piece]:
        if depth > _DEEP:
            yield self._single(node, where, along)
            return
        match node:
            case Operation("+" | "-" as operator, left, right):
                yield from self._pieces(left, where, along, depth + 1)
                for piece in self._pieces(right, where, along, depth + 1):
                    yield piece if operator == "+" else _scaled(piece, -1.0)
            case Negative(operand):
                for piece in self._pieces(operand, where, along, depth + 1):
                    yield _scaled(piece, -1.0)
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
                over = reduced_dims("dot", named(node), union(self._dims(left), self._dims(right)))
                yield from self._products(left, right, over, where, along)
            case Apply("sum" | "mean" as function, (inner, *_)) if function == "sum" or depth == 0:
                over = reduced_dims(function, named(node), self._dims(inner))
                values = self._at(self._evaluator.evaluate(inner), where, over)
                count = values.size if function == "mean" else 1
                for at in np.ndindex(values.shape):
                    place = dict(zip(over, at, strict=True))
                    factor = Factor(inner, float(values[at]), {**where, **place})
                    yield Piece(factor.value / count, (factor,), {**along, **place})
            case Apply("T", (inner,)):
                swapped(self._dims(inner))
                yield from self._pieces(inner, where, along, depth + 1)
            case Apply("where", (condition, yes, no)):
                chosen = yes if self.value(condition, where) else no
                yield from self._pieces(chosen, where, along, depth + 1)
            case _:
                yield self._single(node, where, along)

    def _products(self, left: Node, right: Node, over: tuple[str, ...], where: Where, along: Where) -> Iterator[Piece]:
        a, b = (self._at(self._evaluator.evaluate(part), where, over) for part in (left, right))
        a, b = np.broadcast_arrays(a, b)
        for at in np.ndindex(a.shape):
            place = dict(zip(over, at, strict=True))
            there = {**where, **place}
            factors = (Factor(left, float(a[at]), there), Factor(right, float(b[at]), there))
            yield Piece(factors[0].value * factors[1].value, factors, {**along, **place})

    def _times(
        self, many: Node, factors: tuple[Factor, ...], where: Where, along: Where, depth: int
    ) -> Iterator[Piece]:
        by = 1.0
        for factor in factors:
            with np.errstate(all="ignore"):
                by = float(np.divide(by, factor.value)) if factor.inverse else by * factor.value
        for piece in self._pieces(many, where, along, depth + 1):
            yield Piece(piece.value * by, (*piece.factors, *factors), piece.along)

    def _factors(self, node: Node, where: Where, along: Where) -> tuple[Factor, ...]:
        """The factors of a node that is a product itself."""
        match node:
            case Operation("*", left, right):
                return self._factors(left, where, along) + self._factors(right, where, along)
            case Operation("/", left, right):
                return (*self._factors(left, where, along), self._factor(right, where, inverse=True))
        return (self._factor(node, where),)

    def _factor(self, node: Node, where: Where, inverse: bool = False) -> Factor:
        return Factor(node, self.value(node, where), where, inverse)

    def _single(self, node: Node, where: Where, along: Where) -> Piece:
        factor = self._factor(node, where)
        return Piece(factor.value, (factor,), along)

    def _dims(self, node: Node) -> tuple[str, ...]:
        return self._evaluator.evaluate(node).dims


def _is_sum(node: Node) -> bool:
    """Whether taking a node apart gives several terms."""
    match node:
        case Operation("+" | "-" | "@", _, _) | Apply("dot" | "sum", _):
            return True
        case Operation("*" | "/", left, right):
            return _is_sum(left) or (node.operator == "*" and _is_sum(right))
        case Negative(operand):
            return _is_sum(operand)
    return False


def _scaled(piece: Piece, by: float) -> Piece:
    minus = Factor(Number(by), by, {})
    return Piece(piece.value * by, (minus, *piece.factors), piece.along)


def cell_of(node: Node) -> str | None:
    """The tensor whose cell a factor is, if it is one."""
    match node:
        case Name(name) | Select(Name(name), _, _) | Lookup(Name(name), _):
            return name
        case Apply("T", (inner,)):
            return cell_of(inner)
    return None
