"""Boxes: rows of text with a baseline, from which drawings are composed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

_TALL = {  # a bracket -> its top, its middle, its bottom
    "(": "⎛⎜⎝", ")": "⎞⎟⎠", "[": "⎡⎢⎣", "]": "⎤⎥⎦", "⌊": "⎢⎢⎣", "⌋": "⎥⎥⎦", "⌈": "⎡⎢⎢", "⌉": "⎤⎥⎥", "|": "│││",
    "‖": "‖‖‖", "/": "╱╱╱", "{": "⎧⎪⎩", "}": "⎫⎪⎭",
}  # fmt: skip
_WAIST = {"{": "⎨", "}": "⎬"}  # in the middle of three or more rows; with two rows, `_TWO` draws them
_TWO = {"{": "⎰⎱", "}": "⎱⎰"}


@dataclass(frozen=True, slots=True)
class Box:
    """A drawing.

    Attributes:
        rows: Its rows of text, all of the same width.
        base: The index of the row that its letters stand on.
        up: How many rows above that one brackets enclose; scripts may reach further.
        down: How many rows below that one brackets enclose.
    """

    rows: tuple[str, ...]
    base: int = 0
    up: int = 0
    down: int = 0

    @property
    def width(self) -> int:
        """Its width in cells of a terminal (a character may take none or two)."""
        return cell_len(self.rows[0])

    @property
    def above(self) -> int:
        """The number of rows above the baseline."""
        return self.base

    @property
    def below(self) -> int:
        """The number of rows below the baseline."""
        return len(self.rows) - 1 - self.base

    def whole(self) -> Box:
        """The same box, of which brackets enclose all rows."""
        return Box(self.rows, self.base, self.above, self.below)


def placed(parts: Iterable[tuple[int, int, Box]], up: int = 0, down: int = 0) -> Box:
    """Combine boxes at given places.

    Args:
        parts: For each box the row of its baseline, counted downwards from the baseline of the result; its column; and
            the box.
        up: The `up` of the result.
        down: The `down` of the result.
    """
    lines: dict[int, list[tuple[int, str]]] = {0: []}
    for row, column, box in parts:
        for at, text in enumerate(box.rows):
            lines.setdefault(row - box.base + at, []).append((column, text))
    top, bottom = min(lines), max(lines)
    rows = []
    for at in range(top, bottom + 1):
        text = ""
        for column, piece in sorted(lines.get(at, ())):
            text += " " * (column - cell_len(text)) + piece
        rows.append(text)
    width = max(map(cell_len, rows))
    return Box(tuple(row + " " * (width - cell_len(row)) for row in rows), -top, up, down)


def beside(boxes: Iterable[tuple[int, Box]]) -> Box:
    """Put boxes side by side on one baseline; each comes with the number of empty cells before it."""
    parts, column, up, down = [], 0, 0, 0
    for gap, box in boxes:
        column += gap
        parts.append((0, column, box))
        column += box.width
        up, down = max(up, box.up), max(down, box.down)
    return placed(parts, up, down)


def fenced(left: str, body: Box, right: str) -> Box:
    """Put a box between brackets of its height."""
    return beside((0, box) for box in (_bracket(left, body), body, _bracket(right, body)))


def _bracket(char: str, body: Box) -> Box:
    height = body.up + body.down + 1
    if height == 1 or not char:
        rows = [char] * height
    elif height == 2 and char in _TWO:
        rows = list(_TWO[char])
    elif char in _TALL:
        top, middle, bottom = tuple(_TALL[char])
        rows = [top, *[middle] * (height - 2), bottom]
        if char in _WAIST:
            rows[height // 2] = _WAIST[char]
    else:  # angles have no parts to grow from
        rows = [" "] * height
        rows[body.up] = char
    return Box(tuple(rows), body.up, body.up, body.down)


def over(top: Box, bottom: Box, line: bool) -> Box:
    """Draw a fraction, with a bar that is a little wider than both parts, or, without `line`, with none."""
    width = max(top.width, bottom.width)
    bar = Box((f"╶{'─' * width}╴",)) if line else Box((" " * width,))
    side = 1 if line else 0
    parts = [
        (-1 - top.below, side + (width - top.width) // 2, top),
        (0, 0, bar),
        (1 + bottom.above, side + (width - bottom.width) // 2, bottom),
    ]
    return placed(parts).whole()


def rooted(body: Box, degree: Box | None = None) -> Box:
    """Draw a root sign around a box."""
    before = degree.width if degree else 1
    parts = [(-body.above - 1, before, Box((f"┌{'─' * body.width}╴",))), (0, before + 1, body)]
    parts += [(row, before, Box(("│",))) for row in range(-body.above, body.below)]
    parts.append((body.below, before - 1, Box(("╰┘",))))
    if degree:  # in the corner of the sign
        parts.append((body.below - 1 - degree.below, 0, degree))
    return placed(parts).whole()


def overlined(body: Box, mark: str) -> Box:
    """Draw a line over a box of several letters, or, if `mark` is given, that mark over its middle."""
    row = "_" * body.width if not mark else mark.center(body.width)
    box = placed([(-body.above - 1, 0, Box((row,))), (0, 0, body)])
    return Box(box.rows, box.base, box.above, body.down)


def grid(rows: list[list[Box]], places: str, apart: int) -> Box:
    """Arrange boxes in a grid.

    Args:
        rows: The boxes of each row; a row may be shorter than others.
        places: The alignment of the columns, l, c or r for each; it is repeated.
        apart: The number of cells between columns.
    """
    count = max(map(len, rows))
    widths = [max(row[at].width for row in rows if at < len(row)) for at in range(count)]
    parts, top = [], 0
    for row in rows:
        baseline, column = top + max(box.above for box in row), 0
        for at, box in enumerate(row):
            spare = widths[at] - box.width
            place = places[at % len(places)]
            parts.append((baseline, column + {"l": 0, "c": spare // 2, "r": spare}[place], box))
            column += widths[at] + apart
        top = baseline + 1 + max(box.below for box in row)
    middle = (top - 1) // 2
    return placed([(row - middle, column, box) for row, column, box in parts]).whole()
