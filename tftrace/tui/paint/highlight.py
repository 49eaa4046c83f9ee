"""Python source as highlighted lines, cached per file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String
from rich.style import Style
from rich.text import Text

from ...text import visible
from .palette import PALETTES, style

_MOST_LINES, _LONGEST = 20_000, 1_000  # longer files are not highlighted, longer lines are cut


def highlighted(lines: list[str], palette_name: str) -> list[Text]:
    """The lines of a file, highlighted for a palette and with control characters made visible."""
    return _highlighted(tuple(lines), palette_name)


@lru_cache(maxsize=32)
def _highlighted(lines: tuple[str, ...], palette_name: str) -> list[Text]:
    shown = [visible(line[:_LONGEST]) for line in lines]
    if len(lines) > _MOST_LINES:
        return [Text(line) for line in shown]
    out, line = [], Text()
    for kind, value in PythonLexer(stripnl=False, ensurenl=True).get_tokens("\n".join(shown)):
        look = _style(kind, palette_name)
        for at, part in enumerate(value.split("\n")):
            if at:
                out.append(line)
                line = Text()
            if part:
                line.append(part, look)
    return out


@lru_cache(maxsize=256)
def _style(kind: Any, palette_name: str) -> Style:
    palette = PALETTES[palette_name]
    if kind in Comment:
        return style(palette.faint, italic=True)
    if kind in String.Doc:
        return style(palette.faint)
    if kind in Name.Function or kind in Name.Class:
        return style(palette.blue, bold=True)
    if kind in Name.Decorator:
        return style(palette.accent)
    if kind in Keyword or kind in Operator.Word:
        return style(palette.violet)
    if kind in Name.Builtin.Pseudo:
        return style(palette.accent)
    if kind in String:
        return style(palette.string)
    if kind in Number:
        return style(palette.warm)
    if kind in Punctuation or kind in Operator:
        return style(palette.soft)
    return style(palette.text)
