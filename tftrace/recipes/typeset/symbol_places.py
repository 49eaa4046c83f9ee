"""Where an equation's symbols stand in its drawing, so that each can have the colour of its tensor.

The drawing is made twice: as it is, and with a letter of no equation in the place of each symbol. Where the two differ
a symbol stands; where they do not match cell by cell, nothing is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from . import mathtext

Span = tuple[int, int, str]  # first character, the one after the last, symbol

_WORD = r"\mathrm{"
_STANDINS = "БГДЖЗИЙЛПФЦЧШЩЪЫЬЭЮЯбгджзийлпфцчшщъыьэюя"  # drawn as they are, and in no recipe
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_WORDS = {r"\mathrm", r"\text", r"\operatorname", r"\begin", r"\end"}  # what stands in their braces is no symbol
_LOW = "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"
_SCRIPT = re.compile(r"_(\w|\{\w+\})")
_LONGEST = 24  # characters of a script that is part of a symbol
_SINGLE = re.compile(r"(\\[A-Za-z]+|[A-Za-z])(?:_(\w|\{\w+\}))?")


def spelled(symbols: Iterable[str], tex: str, signs: Mapping[str, str], result: str = "out") -> dict[str, str]:
    """How the paper writes each symbol: as `signs` says, else `W1` as `W_1`; the result is what stands alone on the
    left of the equals sign. Symbols that the paper does not write are left out."""
    left = tex.partition("=")[0].strip() if "=" in tex else ""
    found = {}
    taken = set(signs.values())  # such as a letter that is another symbol's own name
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
    """The rows of `mathtext.render`, and for each row where symbols stand in it."""
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
    """`tex` with stand-ins for symbols that stand on the line: not in scripts, nor in words."""
    for sign, standin in letters.items():
        if sign.startswith(_WORD):
            tex = tex.replace(sign, _WORD + standin * (len(sign) - len(_WORD) - 1) + "}")
    out: list[str] = []
    tokens = _TOKEN.findall(tex)
    quiet: list[bool] = []  # for each open brace, whether what stands in it is no symbol
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
