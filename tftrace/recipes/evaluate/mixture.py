"""The parts of an expression that mixes values by weights, as attention does."""

from __future__ import annotations

from typing import NamedTuple

from ..formula.nodes import Apply, Node, Operation, walk


class Mixture(NamedTuple):
    """`weights @ values`, where the weights are made of scores."""

    weights: Node
    values: Node
    scores: Node  # what the exponential is taken of, without what is added to it
    product: Node  # of queries and keys alone
    added: tuple[Node, ...]


def mixture(node: Node) -> Mixture | None:
    """The innermost product whose left side is an exponential of scores, which are a product themselves."""
    found = None
    for part in walk(node):
        if not isinstance(part, Operation) or part.operator != "@":
            continue
        grown = [p for p in walk(part.left) if isinstance(p, Apply) and p.function in ("softmax", "exp")]
        terms = _terms(grown[-1].arguments[0]) if grown else []
        scored = [term for term in terms if _product(term) is not None]
        if len(scored) == 1 and (product := _product(scored[0])) is not None:
            rest = tuple(term for term in terms if term is not scored[0])
            found = Mixture(part.left, part.right, scored[0], product, rest)
    return found


def _product(node: Node) -> Node | None:
    return next((part for part in walk(node) if isinstance(part, Operation) and part.operator == "@"), None)


def _terms(node: Node) -> list[Node]:
    """What is added up."""
    if isinstance(node, Operation) and node.operator == "+":
        return _terms(node.left) + _terms(node.right)
    return [node]
