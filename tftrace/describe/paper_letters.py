"""The letters of a paper for the tensors of a step: `Q`, `Wᴼ`, `E_token`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len

from ..recipes.typeset import mathtext, symbol_places
from ..text import visible

_WIDTH = 200  # cells to draw an equation in, so that none of its symbols is broken
_LONGEST = 10  # cells of a letter
_SCRIPT = re.compile(r"[_^]\{?\w{2,}")  # a script of several letters, for which Unicode has no small ones
_WORDS = re.compile(r"\\(?:mathrm|text|operatorname)|[{}\s]|\\[,;: ]")


def letters(tex: str, spelling: Mapping[str, str], longest: int = _LONGEST) -> dict[str, str]:
    """Write the symbols of an equation as its paper does, short enough for a column.

    Args:
        tex: The equation.
        spelling: TeX by symbol.
        longest: The cells of a letter at most; where more than ten are given, simple expressions have one too.

    Returns:
        The letter by symbol. Symbols that do not stand in the equation are left out, and so are those for a whole
        expression.
    """
    return dict(_letters(tex, tuple(spelling.items()), longest))


@lru_cache(maxsize=512)
def _letters(tex: str, spelling: tuple[tuple[str, str], ...], longest: int) -> tuple[tuple[str, str], ...]:
    spans = symbols_drawn(tex, _WIDTH, dict(spelling)) if tex else []
    drawn = {symbol for row in spans for _, _, symbol in row}
    found = ((symbol, letter(sign, longest)) for symbol, sign in spelling if symbol in drawn)
    return tuple((symbol, said) for symbol, said in found if said)


def symbols_drawn(tex: str, width: int, spelling: Mapping[str, str]) -> list[list[symbol_places.Span]]:
    """The places of symbols in each row of a drawn equation.

    Where a symbol stands for an expression that cannot be told from others, the rest is found without it.
    """
    found = symbol_places.drawn(tex, width, spelling)[1]
    if any(found):
        return found
    return symbol_places.drawn(tex, width, {symbol: sign for symbol, sign in spelling.items() if letter(sign)})[1]


def letter(sign: str, longest: int = _LONGEST) -> str:
    """A symbol in one row: `W^O` is `Wᴼ`, `E_{token}` is `E_token`; empty for what is longer, or an expression."""
    rows = mathtext.render(sign, _WIDTH)
    said = rows[0] if len(rows) == 1 and not _SCRIPT.search(sign) else visible(_WORDS.sub("", sign))
    is_expression = re.search(r"[\\()+=]" if longest <= _LONGEST else r"[\\+=]", said)
    return said if cell_len(said) <= longest and not is_expression else ""
