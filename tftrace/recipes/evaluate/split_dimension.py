"""Splits a long dimension in two, so that a few cells can be checked even if each depends on its whole row.

Each cell of `(x - mean(x, D)) * g` needs a whole row of x, so all cells of the row would have to be evaluated. But
outside the mean it needs only its own position. So what stands there is renamed, and its dimension too: in
`(x′ - mean(x, D)) * g′` a cell needs a row of x along D and one position along D′, and a few positions along D′ are
enough for a check."""

from __future__ import annotations

from dataclasses import replace

from ..formula.analysis import InferredDims, infer_dims, leaves
from ..formula.dims import Layout
from ..formula.functions import ELEMENTWISE
from ..formula.language import FormulaError
from ..formula.nodes import Apply, Name, Negative, Node, Operation
from .plan import Plan

_MARK = "′"  # cannot occur in a recipe's names
_LONG = 64  # positions; shorter rows are evaluated as a whole


def original_name(name: str) -> str:
    """The name without the mark that `split` adds."""
    return name.removesuffix(_MARK)


def is_split(dim: str) -> bool:
    """Whether `split` made this dimension."""
    return dim.endswith(_MARK)


def splittable_dims(plan: Plan) -> list[str]:
    """The dimensions of the result that are long and that each cell needs as a whole."""
    if len(plan.statements) > 1:
        return []
    symbol, independent = plan.statements[0].symbol, plan.statements[0].independent
    return [d for d in plan.layouts[symbol].names if d not in independent and plan.sizes[d] >= _LONG]


def split(plan: Plan, dim: str) -> Plan:
    """Split a dimension of a plan in two.

    Raises:
        FormulaError: a cell needs more than its own position outside of reductions too, so it cannot be split.
    """
    if len(plan.statements) > 1 or dim not in plan.sizes:
        raise FormulaError(f"{dim} cannot be split")
    (statement,) = plan.statements
    names = {symbol: layout.names for symbol, layout in plan.layouts.items()}
    wholes: dict[int, InferredDims] = {}
    renamed: dict[str, Layout] = {}

    def change(node: Node) -> Node:
        if dim not in infer_dims(node, names, wholes)[0]:
            return node
        match node:
            case Name(name):
                renamed[name + _MARK] = _with_split(plan.layouts[name], dim)
                return Name(name + _MARK)
            case Negative(operand):
                return Negative(of(operand))
            case Operation(operator, left, right) if operator != "@":
                return Operation(operator, of(left), of(right))
            case Apply(function, arguments) if function in ELEMENTWISE:
                return Apply(function, tuple(of(part) for part in arguments))
        raise FormulaError(f"each cell needs all of {dim}")

    known: dict[int, Node] = {}

    def of(node: Node) -> Node:
        if id(node) not in known:
            known[id(node)] = change(node)
        return known[id(node)]

    body = of(statement.body)
    layouts = {**plan.layouts, **renamed, statement.symbol: _with_split(plan.layouts[statement.symbol], dim)}
    names = {symbol: layout.names for symbol, layout in layouts.items()}
    _, needed = infer_dims(body, names)
    independent = tuple(d for d in names[statement.symbol] if d not in needed)
    own = replace(statement, body=body, independent=independent, leaves=tuple(leaves(body, names)))
    return replace(plan, sizes={**plan.sizes, dim + _MARK: plan.sizes[dim]}, layouts=layouts, statements=(own,))


def _with_split(layout: Layout, dim: str) -> Layout:
    return Layout(
        tuple(None if axis is None else tuple(d + _MARK if d == dim else d for d in axis) for axis in layout.axes)
    )
