"""Attention maps as SVG: each head as a grid of coloured cells, with the tokens along both axes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from rich.cells import cell_len

from ...language import tr
from ...text import visible
from ..paint.heatmap import heat, shade
from ..paint.palette import LIGHT, PALETTES

_CELL, _LETTER, _LINE = 22, 7.4, 15  # pixels: a cell, a letter of an axis, a line of text
_SMALLEST = 3  # pixels of a cell, of a map with very many tokens
_WIDEST = 1500  # pixels of a map
_MOST = 160  # tokens along an axis; of more, the first are drawn
_LONGEST = 24  # letters of a token
_ACROSS = 4  # maps side by side


def attention_svg(
    maps: Sequence[tuple[str, np.ndarray]], queries: Sequence[str], keys: Sequence[str], title: str, theme: str = ""
) -> str:
    """Draw attention maps.

    Args:
        maps: The name and the weights (queries, keys) of each head.
        queries: The tokens that look, from top to bottom.
        keys: The tokens that are looked at, from left to right.
        title: What is written above.
        theme: The name of the colours; light by default.
    """
    palette = PALETTES.get(theme, LIGHT)
    rows, columns = [_shown(one) for one in queries[:_MOST]], [_shown(one) for one in keys[:_MOST]]
    cell = max(_SMALLEST, min(_CELL, _WIDEST // max(1, len(columns))))
    left = max((cell_len(one) for one in rows), default=1) * _LETTER + 10
    top = max((cell_len(one) for one in columns), default=1) * _LETTER + 30
    width, height = left + cell * len(columns) + 24, top + cell * len(rows) + 24
    across = min(_ACROSS, len(maps))
    size = across * width + 16, -(-len(maps) // across) * height + 3 * _LINE + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" width="{size[0]:.0f}" '
        f'height="{size[1]:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">',
        f'<rect width="100%" height="100%" fill="{palette.ground}"/>',
        _text(12, 22, title, palette.text, 'font-size="15" font-weight="bold"'),
        _text(12, 40, tr("queries down, keys across; colours by the square root of the weight"), palette.faint),
    ]
    for at, (name, weights) in enumerate(maps):
        x, y = 8 + at % across * width, 2 * _LINE + 16 + at // across * height
        parts.append(f'<g transform="translate({x:.1f},{y:.1f})">')
        parts.append(_text(left, 14, name, palette.text, 'font-weight="bold"'))
        parts += _map(weights[:_MOST, :_MOST], rows, columns, (left, top, cell), palette.name)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _map(
    weights: np.ndarray, rows: list[str], columns: list[str], place: tuple[float, float, int], theme: str
) -> list[str]:
    left, top, cell = place
    palette, scaled = PALETTES[theme], shade(weights)[0]
    parts = []
    every = max(1, -(-_LINE // cell))  # of tokens that are too close, some are named
    for at in range(0, len(columns), every):
        x = left + (at + 0.5) * cell + 4
        parts.append(
            _text(0, 0, columns[at], palette.soft, f'transform="translate({x:.1f},{top - 5:.1f}) rotate(-90)"')
        )
    for at in range(0, len(rows), every):
        y = top + (at + 0.5) * cell + 4
        parts.append(_text(left - 6, y, rows[at], palette.soft, 'text-anchor="end"'))
    for q, line in enumerate(scaled.tolist()):
        for k, value in enumerate(line):
            said = escape(f"{rows[q]} → {columns[k]}: {float(weights[q, k]):.4f}")
            parts.append(
                f'<rect x="{left + k * cell:.1f}" y="{top + q * cell:.1f}" width="{cell}" height="{cell}" '
                f'fill="{heat(value, theme)}" stroke="{palette.frame}" stroke-width="0.3"><title>{said}</title></rect>'
            )
    return parts


def _text(x: float, y: float, said: str, color: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" {more}>{escape(said)}</text>'


def _shown(token: str) -> str:
    token = visible(token)
    return token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…"
