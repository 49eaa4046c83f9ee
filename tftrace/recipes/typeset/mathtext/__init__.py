"""Draws TeX as lines of Unicode for a terminal, so that an equation looks as it does in its paper.

It is parsed (`tex_parser`), drawn as boxes (`typesetting`), and broken if it is too wide (`line_breaking`). If it
cannot be parsed, the TeX itself is shown."""

from __future__ import annotations

from functools import lru_cache

from ....text import visible
from .line_breaking import broken, stacked
from .scripts import style
from .tex_parser import parse
from .typesetting import pieces

_LONGEST = 600  # characters of TeX; drawing so many takes milliseconds
_WIDEST, _TALLEST = 240, 40  # cells; a larger drawing is of no use in a pane


@lru_cache(maxsize=1024)
def _drawn(tex: str, width: int | None) -> tuple[str, ...]:
    if len(tex) > _LONGEST:
        return (plain(tex),)
    try:
        items = parse(tex)
    except ValueError:
        return (plain(tex),)
    lines = broken(pieces(items, style(items)), width)
    rows = [row.rstrip() for row in stacked(lines)]
    if not any(rows) or len(rows) > _TALLEST or max(map(len, rows)) > _WIDEST:
        return (plain(tex),)
    return tuple(rows)


def render(tex: str, width: int | None = None) -> list[str]:
    """Draw an equation.

    Args:
        tex: The equation.
        width: The cells of a line; None for as many as it needs. Wider equations are broken between equations, after
            relations, before operators and after commas; a part that cannot be broken may still be wider.

    Returns:
        The rows of the drawing; if the equation cannot be drawn, one row with the TeX itself.
    """
    return list(_drawn(tex, width))


def plain(tex: str) -> str:
    """The TeX itself on one line, shortened: it is shown where the drawing does not fit."""
    line = visible(" ".join(tex.split()))
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
