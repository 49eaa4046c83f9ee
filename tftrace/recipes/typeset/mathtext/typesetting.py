"""Turns the tree of an equation into boxes, spaced as TeX would space them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import tex_commands
from .box import Box, beside, fenced, grid, over, overlined, placed, rooted
from .scripts import HIGH, LOW, Style, children, written
from .tex_commands import CLOSING, FUNCTION, INNER, NAME, OPENING, OPERATOR, ORDINARY, PUNCTUATION, RELATION
from .tex_parser import Accent, Fence, Fraction, Gap, Grid, Group, Node, Root, Script, Sign, flattened

AFTER_COMMA, AT_OPERATOR, AT_GAP, AFTER_NAME = range(4)  # places where a line may end, the best first


@dataclass(frozen=True, slots=True)
class Piece:
    """One item of a line.

    Attributes:
        gap: The number of empty cells before it.
        box: Its drawing.
        depth: The number of brackets around it.
        cut: What kind of place a line would end at before it; None if it must not end there.
    """

    gap: int
    box: Box
    depth: int
    cut: int | None


def pieces(items: Sequence[Node], style: Style, tight: bool = False) -> list[Piece]:
    """Draw the items of an equation, or of a part of one.

    Args:
        items: The items.
        style: How scripts are drawn.
        tight: Whether to leave out the spaces around operators, as in scripts.
    """
    opened = list(_opened(items))
    kinds = _kinds(opened)
    found: list[Piece] = []
    asked, before, depth = 0, "", 0
    for item, (left, right) in zip(opened, kinds, strict=True):
        if isinstance(item, Gap):
            asked += item.cells
            continue
        gap = max(asked, _gap(before, left, tight))
        depth -= left == CLOSING and right == CLOSING
        found.append(Piece(gap, _box(item, style), depth, _cut(before, left, gap)))
        depth += left == OPENING and right == OPENING
        asked, before = 0, right
    return found


def joined(line: Sequence[Piece]) -> Box:
    """Join pieces into one line; the gap before the first is left out."""
    return beside((piece.gap if at else 0, piece.box) for at, piece in enumerate(line))


def _opened(items: Sequence[Node]) -> Iterator[Node]:
    """The items, where brackets that need not grow have become ordinary signs, so that a line can end between them."""
    for item in flattened(tuple(items)):
        fence = item.base if isinstance(item, Script) else item
        if not isinstance(fence, Fence) or _tall(fence.body):
            yield item
            continue
        yield Sign(fence.left, OPENING)
        yield from _opened((fence.body,))
        end = Sign(fence.right, CLOSING)
        yield Script(end, item.low, item.high, item.primes) if isinstance(item, Script) else end


def _kinds(items: Sequence[Node]) -> list[tuple[str, str]]:
    """What each item is to its left and to its right neighbour; an operator with no operand before it is ordinary."""
    kinds = [_kind(item) for item in items]
    shown = [at for at, item in enumerate(items) if not isinstance(item, Gap)]
    before = OPENING
    for order, at in enumerate(shown, 1):
        if kinds[at][0] == OPERATOR:
            follows = kinds[shown[order]][0] if order < len(shown) else CLOSING
            unary = before in (OPERATOR, RELATION, OPENING, PUNCTUATION, FUNCTION)
            if unary or follows in (RELATION, CLOSING, PUNCTUATION):
                kinds[at] = (ORDINARY, ORDINARY)
        before = kinds[at][1]
    return kinds


def _kind(item: Node) -> tuple[str, str]:
    if isinstance(item, Script):
        return _kind(item.base)
    if isinstance(item, Sign):
        return item.kind, item.kind
    if isinstance(item, Fence):
        return OPENING, CLOSING
    if isinstance(item, Root) and _alone(item):
        return ORDINARY, INNER  # so that the next item does not seem to be under it
    return (INNER, INNER) if isinstance(item, (Fraction, Grid)) else (ORDINARY, ORDINARY)


def _gap(before: str, after: str, tight: bool) -> int:
    """The number of empty cells between two neighbours."""
    if not before or before == OPENING or after in (CLOSING, PUNCTUATION):
        return 0
    if before in (FUNCTION, NAME):
        return int(after != OPENING and not (tight and after in (RELATION, OPERATOR)))
    if after in (FUNCTION, NAME):
        return int(not (tight and before in (RELATION, OPERATOR, PUNCTUATION)))
    if tight or (before == RELATION and after == RELATION):
        return 0
    if RELATION in (before, after) or OPERATOR in (before, after) or before == PUNCTUATION:
        return 1
    return int(INNER in (before, after))


def _cut(before: str, after: str, gap: int) -> int | None:
    if before == PUNCTUATION:
        return AFTER_COMMA
    if before == RELATION or (after == OPERATOR and before):
        return AT_OPERATOR
    if not gap or after == RELATION or before == OPERATOR:
        return None
    return AFTER_NAME if before in (FUNCTION, NAME) else AT_GAP


def _tall(node: Node) -> bool:
    """Whether brackets around it have to grow; scripts do not count."""
    if isinstance(node, (Fraction, Grid)) or (isinstance(node, Root) and not _alone(node)):
        return True
    if isinstance(node, Script):
        return _tall(node.base)
    return any(_tall(child) for child in children(node))


def _alone(root: Root) -> bool:
    """Whether a root needs no line over its body: a single letter with nothing above it."""
    body = root.body.items[0] if isinstance(root.body, Group) and len(root.body.items) == 1 else root.body
    base = body.base if isinstance(body, Script) and body.high is None else body
    return root.degree is None and isinstance(base, Sign)


def _drawn(node: Node, style: Style, tight: bool = False) -> Box:
    line = pieces((node,), style, tight)
    return joined(line) if line else Box(("",))


def _box(node: Node, style: Style) -> Box:
    if isinstance(node, Sign):
        return Box((node.text,))
    if isinstance(node, Script):
        return _script(node, style)
    if isinstance(node, Fraction):
        return over(_drawn(node.top, style), _drawn(node.bottom, style), node.line)
    if isinstance(node, Root):
        body = _drawn(node.body, style)
        if _alone(node):
            return beside([(0, Box(("√",))), (0, body)])
        return rooted(body, _drawn(node.degree, style.within, True) if node.degree else None)
    if isinstance(node, Fence):
        return fenced(node.left, _drawn(node.body, style), node.right)
    if isinstance(node, Accent):
        body = _drawn(node.base, style)
        if isinstance(node.base, Sign) and len(node.base.text) == 1:
            return Box((node.base.text + node.mark,))
        return overlined(body, tex_commands.OVER.get(node.mark, ""))
    if isinstance(node, Grid):
        return grid([[_drawn(cell, style) for cell in row] for row in node.rows], node.places, node.apart)
    return _drawn(node, style)


def _script(node: Script, style: Style) -> Box:
    base = _drawn(node.base, style)
    low = written(node.low, LOW) if node.low and style.low else None
    high = written(node.high, HIGH) if node.high and style.high else None
    deep = _content(node.low, style) if low is None else None
    raised = _content(node.high, style) if high is None else None
    named = isinstance(node.base, Sign) and node.base.kind == FUNCTION
    if node.limits and (deep or raised or not named):
        return _limits(base, deep or _content(node.low, style), raised or _content(node.high, style))
    primes, low, high = "′" * node.primes, low or "", high or ""
    parts, side = [(0, 0, base)], base.width
    if base.up or base.down:  # at the corners of a tall base
        parts += [(-base.up, side, Box((primes + high,))), (base.down, side, Box((low,)))]
    else:
        parts.append((0, side, Box((primes + low + high,))))
    if deep:
        parts.append((max(1, base.down) + deep.above, side, deep))
    if raised:
        parts.append((-max(1, base.up) - raised.below, side, raised))
    return placed(parts, base.up, base.down)


def _content(content: Node | None, style: Style) -> Box | None:
    return _drawn(content, style.within, True) if content else None


def _limits(base: Box, low: Box | None, high: Box | None) -> Box:
    width = max(box.width for box in (base, low, high) if box)
    parts = [(0, (width - base.width) // 2, base)]
    if low:
        parts.append((base.below + 1 + low.above, (width - low.width) // 2, low))
    if high:
        parts.append((-base.above - 1 - high.below, (width - high.width) // 2, high))
    return placed(parts, base.up, base.down)
