"""A plane of numbers as a table of coloured cells, of which one is chosen and kept in view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message

from ...language import tr
from ..paint.heatmap import heat, ink, shade
from ..paint.palette import style
from ..panes.pane import Pane, fit, short

_LABEL = 12  # columns of a row label
_FEW = 40  # with up to this many columns, a table scrolls rather than hide its numbers
_UPRIGHT = 8  # rows of vertical labels at most
_SQUARE = 11  # columns from which on a cell is made about as high as it is wide
_SCALE = 24  # cells of the colour scale


@dataclass(frozen=True, eq=False)
class Cells:
    """What is drawn: values (rows, columns), their labels, and how to write a number."""

    values: np.ndarray
    rows: list[str]
    columns: list[str]
    digits: Callable[[float, int], str]
    narrow: int  # columns of a cell that shows its number
    wide: int
    tight: int = 0  # a cell that still shows its number, where all columns fit only with such ones; 0 for none
    always: bool = False  # scroll rather than hide the numbers, with any number of columns


class CellMap(Pane):
    """The table; the visible part depends only on the chosen cell."""

    @dataclass
    class Chosen(Message):
        """A cell was clicked."""

        row: int
        column: int

    def __init__(self, *, id: str) -> None:
        super().__init__("", id=id)
        self._cells: Cells | None = None
        self._origin = (0, 0, 0, 0, 1, 1)  # first visible row and column, their place, size of a cell

    def clear(self, sentence: str) -> None:
        """Show nothing but a sentence."""
        self._cells = None
        super().clear(sentence)

    def show(self, cells: Cells, row: int, column: int) -> None:
        """Draw `cells` with one of them chosen."""
        self._cells = cells
        space, rows, columns = self.space, cells.rows, cells.columns
        label = min(_LABEL, max(map(cell_len, rows), default=1))
        room = space.width - label - 4
        width = min(cells.wide, room // max(1, len(columns)))
        if width < cells.narrow and not (cells.tight and width == cells.tight):
            width = cells.narrow if cells.always or len(columns) <= _FEW else 2
        upright = width < min(cells.wide, max(map(cell_len, columns), default=1) + 1)
        tall = min(_UPRIGHT, max(map(len, columns), default=1)) if upright else 1
        below = max(1, space.height - tall - 2)
        high = max(1, min(below // max(1, len(rows)), max(1 + width // 4, width // 2 if width > _SQUARE else 0)))
        across, down = max(1, room // width), max(1, below // high)
        left, first = _window(column, across, len(columns)), _window(row, down, len(rows))
        shown = range(left, min(left + across, len(columns)))
        lines = self._header(columns, column, shown, label, width, tall if upright else 0)
        self._origin = (first, left, len(lines), label + 3, width, high)
        scaled, low, top = shade(cells.values)
        for at in range(first, min(first + down, len(rows))):
            chosen = column if at == row else -1
            lines += self._row(cells, scaled, at, shown, chosen, label, width, high)
        if len(lines) + 2 <= space.height:
            lines += [Text(""), self._scale(low, top, label, cells.digits)]
        self.draw(lines)

    def _row(
        self, cells: Cells, scaled: np.ndarray, at: int, shown: range, chosen: int, label: int, width: int, high: int
    ) -> list[Text]:
        """One row of cells as `high` lines, with the numbers in the middle one."""
        palette, here, out = self.palette, chosen >= 0, []
        numbered = width >= (cells.tight or cells.narrow)
        for part in range(high):
            middle = part == (high - 1) // 2
            line = Text("▸" if here and middle else " ", style(palette.warm, bold=True), no_wrap=True)
            named = fit(short(cells.rows[at], label).rjust(label), label) if middle else " " * label
            line.append(f"{named}  ", style(palette.blue if here else palette.soft, bold=here))
            for k in shown:
                text = cells.digits(float(cells.values[at, k]), width - 1) if middle and numbered else ""
                if k == chosen:
                    text = f"[{text[: width - 2]:^{width - 2}}]" if middle and width >= cells.narrow else text
                    line.append(f"{text:^{width}}", style(palette.ground, palette.warm, bold=True))
                else:
                    line.append(f"{text:^{width}}", ink(float(scaled[at, k]), palette.name))
            out.append(line)
        return out

    def _header(self, columns: list[str], chosen: int, shown: range, label: int, width: int, tall: int) -> list[Text]:
        """The column labels; written vertically over `tall` lines if that is not 0."""
        palette, out = self.palette, []
        for row in range(max(1, tall)):
            line = Text(" " * (label + 3), no_wrap=True)
            for k in shown:
                part = columns[k]
                if tall:
                    part = (part if len(part) <= tall else part[: tall - 1] + "…").rjust(tall)[row]
                cell = short(part.strip(), width - 1)
                gap = width - cell_len(cell)
                look = style(palette.warm if k == chosen else palette.soft, bold=k == chosen, underline=k == chosen)
                line.append(" " * (gap // 2)).append(cell, look).append(" " * (gap - gap // 2))
            out.append(line)
        return out

    def _scale(self, low: float, top: float, label: int, digits: Callable[[float, int], str]) -> Text:
        palette = self.palette
        line = Text(" " * (label + 3) + f"{digits(low, 9) if low else 0} ", style(palette.faint), no_wrap=True)
        for level in range(-_SCALE if low < 0 else 0, _SCALE + 1, 2 if low < 0 else 1):
            line.append(" ", style(ground=heat(level / _SCALE, palette.name)))
        line.append(f" {digits(top, 9)}", style(palette.faint))
        text = tr("   colours by square root")
        return line.append(text if line.cell_len + cell_len(text) <= self.space.width else "", style(palette.faint))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        first, left, row, column, width, high = self._origin
        if self._cells is None or offset is None or offset.y < row or offset.x < column:
            return
        at, k = first + (offset.y - row) // high, left + (offset.x - column) // width
        if at < len(self._cells.rows) and k < len(self._cells.columns):
            self.post_message(self.Chosen(at, k))


def _window(here: int, room: int, size: int) -> int:
    """The first visible index of `room` out of `size`; it depends only on `here`, so the view is the same on return."""
    return max(0, min(here - room // 2, size - room))
