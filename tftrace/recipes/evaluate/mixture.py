"""Finds the scores, weights and values in an attention formula."""

from __future__ import annotations

from typing import NamedTuple

from ..formula.nodes import Apply, Node, Operation, walk


class Mixture(NamedTuple):
    """The parts of `weights @ values`, where the weights come from an exponential or softmax of scores."""

    weights: Node
    values: Node
    scores: Node  # the argument of the exponential, without added terms such as a mask
    product: Node  # the product of queries and keys, without the scale
    added: tuple[Node, ...]  # the terms added to the scores


def mixture(node: Node) -> Mixture | None:
    """Find the innermost matrix product whose left side is an exponential or softmax of another matrix product."""
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
    """The terms of a sum."""
    if isinstance(node, Operation) and node.operator == "+":
        return _terms(node.left) + _terms(node.right)
    return [node]
