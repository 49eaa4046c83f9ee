"""TeX as lines of Unicode for a terminal, so that an equation looks as the paper prints it.

It is read (`tex`), drawn as boxes (`layout`) and broken where it is too wide (`lines`); of what cannot be read the TeX
itself is shown."""

from __future__ import annotations

from functools import lru_cache

from ....text import visible
from .line_breaking import broken, stacked
from .scripts import style
from .tex_parser import parse
from .typesetting import pieces

_LONGEST = 600  # characters of TeX; the layout takes milliseconds at this length
_WIDEST, _TALLEST = 240, 40  # cells; a drawing beyond this is of no use in a pane


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
    """`tex` as lines of text, two-dimensional where one line cannot say it; the TeX itself if it cannot be drawn.

    What is wider than `width` cells is broken between equations, after relations, before operators and after commas;
    a part may still be wider.
    """
    return list(_drawn(tex, width))


def plain(tex: str) -> str:
    """`tex` on one line, shortened: what is shown where the drawing does not fit."""
    line = visible(" ".join(tex.split()))
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
