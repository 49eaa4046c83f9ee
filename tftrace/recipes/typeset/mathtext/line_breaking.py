"""Breaks an equation into lines that fit a width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .box import Box
from .tex_commands import QUAD
from .typesetting import AFTER_COMMA, AFTER_NAME, AT_GAP, AT_OPERATOR, Piece, joined

_INDENT = 2  # cells before a line that continues the one above
_LINE, _BRACKET = 5, 10  # what another line costs, and each pair of brackets that it splits
_CUTS = {AFTER_COMMA: 0, AT_OPERATOR: 1, AT_GAP: 12, AFTER_NAME: 30}
_TOO_WIDE, _NEVER = 1_000, 10**9  # costs of a cell too many, and of a place where no line may end


def broken(line: Sequence[Piece], width: int | None) -> list[tuple[int, Box]]:
    """Break a line.

    It is broken between equations first, then at signs within as few brackets as possible.

    Args:
        line: The items of the line.
        width: The cells that a line may have; None for any number.

    Returns:
        The lines, each with its indent in cells. A line that cannot be broken may be wider than `width`.
    """
    if width is None or not line or joined(line).width <= width:
        return [(0, joined(line))] if line else []
    found: list[tuple[int, Box]] = []
    for equation in _equations(line):
        found += _filled(equation, width)
    return found


def stacked(lines: Sequence[tuple[int, Box]]) -> list[str]:
    """Stack lines into rows of text; an empty row separates lines where it might be unclear whose script is whose."""
    rows: list[str] = []
    below = 0
    for indent, box in lines:
        if rows and (below or box.above):
            rows.append("")
        rows += [" " * indent + row for row in box.rows]
        below = box.below
    return rows


def _equations(line: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    start = 0
    for at, piece in enumerate(line):
        if at and piece.gap >= QUAD and piece.depth == 0:
            yield line[start:at]
            start = at
    yield line[start:]


def _filled(line: Sequence[Piece], width: int) -> list[tuple[int, Box]]:
    """Break one equation at the fewest and best places; all lines but the last are as full as possible."""
    count = len(line)
    costs, ends = [0] * (count + 1), [count] * (count + 1)
    for start in range(count - 1, -1, -1):
        room, used, best = width - (_INDENT if start else 0), 0, _NEVER
        for end in range(start + 1, count + 1):
            used += line[end - 1].box.width + (line[end - 1].gap if end - 1 > start else 0)
            if used > room and best < _NEVER:
                break
            cost = costs[end] + (_cost(line[end]) if end < count else 0) + max(0, used - room) * _TOO_WIDE
            if cost <= best:
                best, costs[start], ends[start] = cost, cost, end
    found, start = [], 0
    while start < count:
        found.append((_INDENT if start else 0, joined(line[start : ends[start]])))
        start = ends[start]
    return found


def _cost(piece: Piece) -> int:
    """What it costs to begin a line with this piece: brackets, and names with their arguments, should stay together."""
    return _NEVER if piece.cut is None else _LINE + _CUTS[piece.cut] + _BRACKET * piece.depth
