"""Rows of text with a baseline: what drawings are put together from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

_TALL = {  # a bracket -> what is its top, its middle, its bottom
    "(": "⎛⎜⎝", ")": "⎞⎟⎠", "[": "⎡⎢⎣", "]": "⎤⎥⎦", "⌊": "⎢⎢⎣", "⌋": "⎥⎥⎦", "⌈": "⎡⎢⎢", "⌉": "⎤⎥⎥", "|": "│││",
    "‖": "‖‖‖", "/": "╱╱╱", "{": "⎧⎪⎩", "}": "⎫⎪⎭",
}  # fmt: skip
_WAIST = {"{": "⎨", "}": "⎬"}  # in the middle of three rows and more; of two rows these are drawn otherwise
_TWO = {"{": "⎰⎱", "}": "⎱⎰"}


@dataclass(frozen=True, slots=True)
class Box:
    """A drawing: rows of one width, `base` the one its letters stand on. `up` and `down` are the rows above and below
    that brackets embrace; a script may stand further out."""

    rows: tuple[str, ...]
    base: int = 0
    up: int = 0
    down: int = 0

    @property
    def width(self) -> int:
        """Cells of a terminal: not characters, of which some take none and some two."""
        return cell_len(self.rows[0])

    @property
    def above(self) -> int:
        """Rows over the baseline."""
        return self.base

    @property
    def below(self) -> int:
        """Rows under the baseline."""
        return len(self.rows) - 1 - self.base

    def whole(self) -> Box:
        """With all of its rows to be embraced."""
        return Box(self.rows, self.base, self.above, self.below)


def placed(parts: Iterable[tuple[int, int, Box]], up: int = 0, down: int = 0) -> Box:
    """Boxes put on one sheet: of each the row of its baseline, downwards from the sheet's own, its column, itself."""
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
    """Boxes on one baseline, each after so many empty cells."""
    parts, column, up, down = [], 0, 0, 0
    for gap, box in boxes:
        column += gap
        parts.append((0, column, box))
        column += box.width
        up, down = max(up, box.up), max(down, box.down)
    return placed(parts, up, down)


def fenced(left: str, body: Box, right: str) -> Box:
    """A body between brackets as tall as what they embrace."""
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
    """A fraction: one centred over the other; a bar between that reaches out on both sides, or nothing."""
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
    """A body under a root sign."""
    before = degree.width if degree else 1
    parts = [(-body.above - 1, before, Box((f"┌{'─' * body.width}╴",))), (0, before + 1, body)]
    parts += [(row, before, Box(("│",))) for row in range(-body.above, body.below)]
    parts.append((body.below, before - 1, Box(("╰┘",))))
    if degree:  # stands in the crook of the sign
        parts.append((body.below - 1 - degree.below, 0, degree))
    return placed(parts).whole()


def overlined(body: Box, mark: str) -> Box:
    """A body of several letters under a line, or under a mark in the middle."""
    row = "_" * body.width if not mark else mark.center(body.width)
    box = placed([(-body.above - 1, 0, Box((row,))), (0, 0, body)])
    return Box(box.rows, box.base, box.above, body.down)


def grid(rows: list[list[Box]], places: str, apart: int) -> Box:
    """Boxes in columns, each column at its left (l), its middle (c) or its right (r)."""
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
