"""A long dimension along which a result is both reduced and laid out, taken for two.

Each cell of `(x - mean(x, D)) * g` needs all of a row of x, so that the cells of the row would have to be evaluated
together. Where only numbers that stand beside the mean are of the cell's own position, they are given another name, and
their dimension too: in `(x′ - mean(x, D)) * g′` a cell needs a row of x and one position along D′, and a few positions
are enough to check."""

from __future__ import annotations

from dataclasses import replace

from ..formula.analysis import Whole, leaves, whole_dims
from ..formula.dims import Layout
from ..formula.functions import ELEMENTWISE
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Name, Negative, Node, Operation
from .plan import Plan

_MARK = "′"  # which no name in a recipe can have
_LONG = 64  # positions; of a shorter row all are evaluated


def original(name: str) -> str:
    """The symbol that another name stands for."""
    return name.removesuffix(_MARK)


def is_double(dim: str) -> bool:
    """Whether this is the dimension of what has another name."""
    return dim.endswith(_MARK)


def candidates(plan: Plan) -> list[str]:
    """The dimensions that are worth it."""
    if len(plan.statements) > 1:
        return []
    symbol, independent = plan.statements[0].symbol, plan.statements[0].independent
    return [d for d in plan.layouts[symbol].names if d not in independent and plan.sizes[d] >= _LONG]


def doubled(plan: Plan, dim: str) -> Plan:
    """The plan with a dimension taken for two; raises FormulaError where a cell needs more than its own position for
    another reason than a reduction."""
    if len(plan.statements) > 1 or dim not in plan.sizes:
        raise FormulaError(f"{dim} cannot be taken for two")
    (statement,) = plan.statements
    names = {symbol: layout.names for symbol, layout in plan.layouts.items()}
    wholes: dict[int, Whole] = {}
    renamed: dict[str, Layout] = {}

    def change(node: Node) -> Node:
        if dim not in whole_dims(node, names, wholes)[0]:
            return node
        match node:
            case Name(name):
                renamed[name + _MARK] = _relaid(plan.layouts[name], dim)
                return Name(name + _MARK)
            case Negative(operand):
                return Negative(of(operand))
            case Operation(operator, left, right) if operator != "@":
                return Operation(operator, of(left), of(right))
            case Apply(function, arguments) if function in ELEMENTWISE:
                return Apply(function, tuple(of(part) for part in arguments))
        raise FormulaError(f"{dim} is needed whole")

    known: dict[int, Node] = {}

    def of(node: Node) -> Node:
        if id(node) not in known:
            known[id(node)] = change(node)
        return known[id(node)]

    body = of(statement.body)
    layouts = {**plan.layouts, **renamed, statement.symbol: _relaid(plan.layouts[statement.symbol], dim)}
    names = {symbol: layout.names for symbol, layout in layouts.items()}
    _, whole = whole_dims(body, names)
    independent = tuple(d for d in names[statement.symbol] if d not in whole)
    own = replace(statement, body=body, independent=independent, leaves=tuple(leaves(body, names)))
    return replace(plan, sizes={**plan.sizes, dim + _MARK: plan.sizes[dim]}, layouts=layouts, statements=(own,))


def _relaid(layout: Layout, dim: str) -> Layout:
    return Layout(
        tuple(None if axis is None else tuple(d + _MARK if d == dim else d for d in axis) for axis in layout.axes)
    )
