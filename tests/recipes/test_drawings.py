"""Every equation that ships, drawn: as it was when somebody looked at it, and by rules that hold of each.

Where they were meant to change: `TFTRACE_SNAPSHOTS=write python -m pytest tests/recipes/test_drawings.py`, and read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tftrace.recipes.format.library import library
from tftrace.recipes.typeset import mathtext
from tftrace.recipes.typeset.mathtext.line_breaking import broken
from tftrace.recipes.typeset.mathtext.scripts import HIGH, LOW, style
from tftrace.recipes.typeset.mathtext.tex_commands import SIGNS
from tftrace.recipes.typeset.mathtext.tex_parser import parse
from tftrace.recipes.typeset.mathtext.typesetting import pieces

FOLDER = Path(__file__).parent / "snapshots"
WIDTHS = (60, 100)
SMALL = "".join(char for char in {*LOW.values(), *HIGH.values()} if char not in "*′°")
NAME = re.compile(r"\\(?:mathrm|operatorname)\{(\w{2,})\}|\\(min|max|sin|cos|tanh|log|ln|exp)(?![A-Za-z])")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
FRAME = "()[]{}|‖⟨⟩⎛⎜⎝⎞⎟⎠⎡⎢⎣⎤⎥⎦⎧⎨⎩⎪⎫⎬⎭⎰⎱╶─╴┌│╰┘√"  # drawn as tall as need be, or left out
COMMANDS = {
    r"\frac", r"\sqrt", r"\left", r"\right", r"\mathrm", r"\text", r"\operatorname", r"\quad", r"\qquad", r"\,", r"\ ",
    r"\hat", r"\tilde",
}  # fmt: skip

equations = pytest.mark.parametrize("equation", library().equations.values(), ids=lambda e: e.id)
widths = pytest.mark.parametrize("width", WIDTHS)


@widths
def test_every_equation_looks_as_it_did(width: int) -> None:
    shown = "".join(
        "\n".join([equation.id, *(f"    {row}".rstrip() for row in mathtext.render(equation.tex, width))]) + "\n"
        for equation in library().equations.values()
    )
    file = FOLDER / f"equations-{width}.txt"
    if os.environ.get("TFTRACE_SNAPSHOTS") == "write":
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8"), f"{file} has other drawings: see the top of this file"


@equations
def test_no_equation_is_wider_than_its_pane(equation: Any) -> None:
    for width in (40, 57, *WIDTHS):  # 40 is what the pane leaves in a terminal of 80 cells, 57 in a pane of 60
        assert max(map(cell_len, mathtext.render(equation.tex, width))) <= width


@equations
def test_rows_of_a_drawing_are_of_one_width(equation: Any) -> None:
    items = parse(equation.tex)
    for width in WIDTHS:
        for _, box in broken(pieces(items, style(items)), width):
            assert {cell_len(row) for row in box.rows} == {box.width}


@equations
def test_a_small_letter_follows_what_it_is_the_script_of(equation: Any) -> None:
    """A raised letter on a row of its own would stand below the letters' feet, or in the air."""
    for row in mathtext.render(equation.tex, 100):
        assert not re.search(rf"(^|[\s╶─╴]|[⎛⎜⎝⎡⎢⎣┌│┘])[{re.escape(SMALL)}]", row), row


@equations
def test_names_of_functions_keep_clear_of_letters(equation: Any) -> None:
    names = {name for found in NAME.findall(equation.tex) for name in found if name}
    seen = 0
    for row in mathtext.render(equation.tex, 100) if names else []:
        for match in re.finditer("|".join(sorted(names, key=len, reverse=True)), row):
            around = row[: match.start()][-1:] + row[match.end() :][:1]
            assert not any(char.isalnum() and char not in SMALL for char in around), row
            seen += 1
    assert seen >= len(names)


@equations
def test_nothing_of_an_equation_is_lost(equation: Any) -> None:
    """Each letter, number and operator of the TeX stands in the drawing, as often as there."""
    asked: Counter[str] = Counter()
    for token in TOKEN.findall(equation.tex):
        if token not in COMMANDS and token not in "{}^_":
            asked.update("′" if token == "'" else SIGNS.get(token, (token,))[0])
    large = {char: plain for table in (LOW, HIGH) for plain, char in reversed(table.items()) if char not in "*′"}
    drawn = Counter(large.get(char, char) for row in mathtext.render(equation.tex, 100) for char in row)
    for counted in (asked, drawn):
        for char in [c for c in counted if c in FRAME or c.isspace() or unicodedata.combining(c)]:
            del counted[char]
    assert drawn == asked
