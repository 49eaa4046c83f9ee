"""TeX as lines of Unicode for a terminal, so that an equation looks as the paper prints it.

TeXicode lays it out; what goes in is bounded and respaced here, and whatever goes wrong gives the TeX itself."""

from __future__ import annotations

import re
from functools import lru_cache

from rich.cells import cell_len
from texicode import arts, pipeline

from ..text import visible

_LONGEST = 600  # characters of TeX; the layout takes milliseconds at this length
_WIDEST, _TALLEST = 240, 40  # cells; a drawing beyond this is of no use in a pane

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[ \t\n]+|.", re.DOTALL)
_RELATIONS = {"=", "<", ">", r"\le", r"\leq", r"\ge", r"\geq", r"\in", r"\approx", r"\sim", r"\to", r"\neq"}
_OPERATORS = {"+", "-", r"\cdot", r"\times", r"\odot", r"\otimes", r"\oplus"}
_SPACES = {r"\,", r"\;", r"\:", r"\!", r"\ "}
_LIMITS = {r"\sum", r"\prod", r"\int", r"\max", r"\min", r"\lim", r"\operatorname"}
_INSTEAD = {r"\operatorname": r"\mathrm", r"\lVert": "‖", r"\rVert": "‖", r"\tfrac": r"\frac", r"\dfrac": r"\frac"}
_OPENING = {"{", "(", "[", r"\left", r"\begin"}
_CLOSING = {"}", ")", "]", r"\right", r"\end"}
_GAP = r"\ "

# Scripts that Unicode has only as another letter's, or that few fonts have: these letters go on a row of their own.
arts.unicode_scripts |= {letter: [" ", " "] for letter in "CFQSXYZq!"} | {"I": ["ᴵ", " "], "V": ["ⱽ", " "]}


@lru_cache(maxsize=1024)
def _drawn(tex: str) -> tuple[str, ...]:
    if len(tex) > _LONGEST:
        return (plain(tex),)
    try:
        arts.font = arts.font_normal  # letters as they are: the mathematical alphabets have no sure width in terminals
        rows = pipeline.render_tex_rows(_spaced(tex), False)
    except Exception:
        return (plain(tex),)
    rows = [visible(row).rstrip() for row in rows if isinstance(row, str)]
    while rows and not rows[0]:
        rows.pop(0)
    while rows and not rows[-1]:
        rows.pop()
    failed = not rows or rows[0].startswith("TeXicode:") or "?" in "".join(rows).replace("?", "", tex.count("?"))
    if failed or len(rows) > _TALLEST or max(map(len, rows)) > _WIDEST:
        return (plain(tex),)
    margin = min(len(row) - len(row.lstrip()) for row in rows if row)
    return tuple(row[margin:] for row in rows)


def render(tex: str, width: int | None = None) -> list[str]:
    """`tex` as lines of text, two-dimensional where it has fractions or roots; the TeX itself if it cannot be drawn.

    What is wider than `width` cells is broken after equals signs and wide gaps; a part may still be wider.
    """
    rows = list(_drawn(tex))
    if width is None or max(map(cell_len, rows)) <= width:
        return rows
    equations = _parts(tex, {r"\quad", r"\qquad"})
    if len(equations) > 1:
        return [row for equation in equations for row in render(equation, width)]
    first, *sides = _parts(tex, {"="})
    broken = [*_drawn(f"{first} =")] if sides else rows
    for side in sides:
        broken += ["  " + row for row in _drawn(side if side is sides[-1] else f"{side} =")]
    return broken


def plain(tex: str) -> str:
    """`tex` on one line, shortened: what is shown where the drawing does not fit."""
    line = visible(" ".join(tex.split()))
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"


def _parts(tex: str, between: set[str]) -> list[str]:
    """`tex` cut at these tokens, where they are in no group, bracket or environment."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(tex):
        depth += (token in _OPENING) - (token in _CLOSING)
        if token in between and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _spaced(tex: str) -> str:
    """`tex` with a space around relations and operators and after commas, in the spellings TeXicode draws well."""
    out: list[str] = []
    tokens = _TOKEN.findall(tex)
    at, before, base, scripts = 0, "", "", 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token.isspace():
            out.append(" ")
            continue
        if token in "^_":
            group, at = _group(tokens, at)
            # One base with both scripts: TeXicode drops what has no glyph for half a row, so one follows the other.
            out += ["{}"] if scripts and base not in _LIMITS else []
            out += [token, *group]
            before, scripts = "}", scripts + 1
            continue
        base, scripts = token, 0
        if token in _RELATIONS or (token in _OPERATORS and before and before not in _RELATIONS | {"(", "[", "{", ","}):
            while out and out[-1] in (" ", *_SPACES):
                out.pop()
            out += [_GAP, token, _GAP]
            while at < len(tokens) and (tokens[at].isspace() or tokens[at] in _SPACES):
                at += 1
        elif token == ",":
            out += [token, _GAP]
        else:
            out.append(_INSTEAD.get(token, token))
        before = token
    return "".join(_parted(out))


def _group(tokens: list[str], at: int) -> tuple[list[str], int]:
    """The script that begins at `at`: one token, a command with its braces, or a braced group."""
    group: list[str] = []
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        group.append(_INSTEAD.get(token, token))
        depth += (token == "{") - (token == "}")
        follows = at < len(tokens) and tokens[at] == "{" and token.startswith("\\")
        if depth <= 0 and not follows and not token.isspace():
            break
    return list(_parted(group)), at


def _parted(tokens: list[str]) -> list[str]:
    """A command that ended at a character which was replaced by a letter keeps its end."""
    return [t + " " if t.startswith("\\") and t[1:].isalpha() else t for t in tokens]
