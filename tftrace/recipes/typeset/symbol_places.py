"""Finds the symbols of an equation in its drawing, so that each can be shown in the colour of its tensor.

The equation is drawn twice: as it is, and with each symbol replaced by a letter that occurs in no equation. Where the
two drawings differ, there is a symbol. If they do not match cell by cell, no symbols are found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from . import mathtext

Span = tuple[int, int, str]  # first character, one past the last, symbol

_WORD = r"\mathrm{"
_STANDINS = "БГДЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯбгджзийлпфцчшщъыьэюя"  # drawn as they are, and used in no recipe
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_WORDS = {r"\mathrm", r"\text", r"\operatorname", r"\begin", r"\end"}  # their braces hold no symbols
_LOW = "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"
_SCRIPT = re.compile(r"_(\w|\{\w+\})")
_LONGEST = 24  # characters of a script that is part of a symbol
_SINGLE = re.compile(r"(\\[A-Za-z]+|[A-Za-z])(?:_(\w|\{\w+\}))?")


def spelled(symbols: Iterable[str], tex: str, signs: Mapping[str, str], result: str = "out") -> dict[str, str]:
    """Tell how the paper writes each symbol.

    Args:
        symbols: The symbols of a recipe.
        tex: Its equation in TeX.
        signs: The spellings that the recipe gives, by symbol.
        result: The symbol of the result: it is the single symbol, if there is one, on the left of the equals sign.

    Returns:
        TeX by symbol. By default `W1` is written `W_1`; symbols that the paper does not write are left out.
    """
    left = tex.partition("=")[0].strip() if "=" in tex else ""
    found = {}
    taken = set(signs.values())  # one of them may be the name of another symbol
    for symbol in symbols:
        if symbol in signs:
            found[symbol] = signs[symbol]
        elif symbol in taken:
            continue
        elif symbol == result and _SINGLE.fullmatch(left):
            found[symbol] = left
        elif len(symbol) == 1 and symbol.isalpha():
            found[symbol] = symbol
        elif len(symbol) == 2 and symbol[0].isalpha():
            found[symbol] = f"{symbol[0]}_{symbol[1]}"
    return found


def drawn(tex: str, width: int, spelling: Mapping[str, str]) -> tuple[list[str], list[list[Span]]]:
    """Draw an equation and find its symbols.

    Args:
        tex: The equation.
        width: The width to draw it in, in cells.
        spelling: TeX by symbol, as `spelled` gives it.

    Returns:
        The rows of `mathtext.render`, and for each row the places of symbols in it.
    """
    rows = mathtext.render(tex, width)
    letters = dict(zip(spelling, _STANDINS, strict=False))
    marked = mathtext.render(_marked(tex, {spelling[symbol]: letter for symbol, letter in letters.items()}), width)
    none: list[list[Span]] = [[] for _ in rows]
    if [len(row) for row in rows] != [len(row) for row in marked]:
        return rows, none
    symbols = {letter: symbol for symbol, letter in letters.items()}
    if any(b not in symbols and a != b for a, b in zip("".join(rows), "".join(marked), strict=True)):
        return rows, none
    return rows, [_spans(row, other, symbols) for row, other in zip(rows, marked, strict=True)]


def _spans(row: str, marked: str, symbols: Mapping[str, str]) -> list[Span]:
    found = []
    for at, letter in enumerate(marked):
        if letter in symbols:
            end = at + 1
            while end < len(row) and row[end] in _LOW:
                end += 1
            found.append((at, end, symbols[letter]))
    return found


def _marked(tex: str, letters: Mapping[str, str]) -> str:
    """`tex` with other letters in the place of symbols, except in scripts and words."""
    for sign, standin in letters.items():
        if sign.startswith(_WORD):
            tex = tex.replace(sign, _WORD + standin * (len(sign) - len(_WORD) - 1) + "}")
    out: list[str] = []
    tokens = _TOKEN.findall(tex)
    quiet: list[bool] = []  # for each open brace, whether it holds no symbols
    before = ""
    for at, token in enumerate(tokens):
        script = before in ("_", "^")
        if token == "{":
            quiet.append(script or before in _WORDS or any(quiet[-1:]))
        elif token == "}":
            quiet = quiet[:-1]
        letter: str | None = None
        if not script and not any(quiet[-1:]):
            low = _SCRIPT.match("".join(tokens[at + 1 : at + _LONGEST]))
            letter = letters.get(token + low[0] if low else token)
        out.append(letter or token)
        before = token if not token.isspace() else before
    return "".join(out)
