"""The grid of a generation, in place of the tree: forward passes as columns, layers as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from ...navigate import generation_grid, timeline
from ...text import visible
from ...trace import tokens
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import Pane, fit_end

_SHADES = "·░▒▓█"
_SIGNS = {generation_grid.EMPTY: " ", generation_grid.DESIGN: "△", generation_grid.DIFFERS: "✗",
          generation_grid.BROKEN: "×"}  # fmt: skip
_HEAD = 2  # rows above the grid: the current forward pass, and the numbers of the columns
_CELL = 2  # columns of a cell


class GridPane(Pane, inherit_bindings=False):
    """Each cell is a call; the arrow keys move the current step from cell to cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cell(0, -1)", show=False),
        Binding("right", "cell(0, 1)", show=False),
        Binding("up", "cell(-1, 0)", show=False),
        Binding("down", "cell(1, 0)", show=False),
        Binding("enter", "app.grid", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A cell was chosen."""

        position: int

    def __init__(self, trace: Trace) -> None:
        super().__init__("Layers × forwards", id="grid")
        self._trace = trace
        self._position = 0
        self._measure = timeline.MEASURES[0]

    def on_resize(self) -> None:
        if self.display:
            self.show(self._position, self._measure)

    def show(self, position: int, measure: str) -> None:
        """Draw the grid around the cell that contains `position`."""
        self._position, self._measure = position, measure
        found, width = generation_grid.grid(self._trace), self.space.width
        if not width:
            return
        if not found.rows:
            return self.clear("This trace has no calls of modules to lay out as a grid.")
        names = min(max(map(len, found.rows)), max(8, width // 3))
        room = max(1, (width - names - 2) // _CELL)
        here = found.cell_of(self._trace, position)
        first = self._first(here, room, len(found.forwards))
        last = min(first + room, len(found.forwards))
        name = "time" if measure == timeline.MEASURES[0] else "L2 norm"
        self.headline(f"{name} of layers × forwards", "·░▒▓█ least to most  ⏎ tree")
        values = found.measured(self._trace, measure)
        shades = _shades(values)[:, first:last]
        lines = self._heads(found, first, last, names)
        for row, label in enumerate(found.rows):
            line = Text(no_wrap=True)
            current = here is not None and here[0] == row
            line.append("▶" if current else " ", style(self.palette.warm, bold=True))
            look = style(self.palette.text if current else self.palette.soft, bold=current)
            line.append(fit_end(visible(label), names) + " ", look)
            for column in range(first, last):
                self._cell(line, int(found.found[row, column]), int(shades[row, column - first]), (row, column) == here)
            lines.append(line)
        self.lines = lines
        self.virtual_size = Size(0, len(lines))
        self._scroll(here)
        self.refresh()

    def _heads(self, found: generation_grid.Grid, first: int, last: int, names: int) -> list[Text]:
        """The header: the current forward pass, and the number of every fifth column."""
        marks = [f"{found.forwards[at] + 1:<{_CELL * 5}}" for at in range(first, last) if (at - first) % 5 == 0]
        number = Text(" " * (names + 2) + "".join(marks)[: (last - first) * _CELL], style(self.palette.faint))
        here = found.cell_of(self._trace, self._position)
        text = "" if here is None else f"forward {found.forwards[here[1]] + 1} of {len(found.forwards)}"
        token = self._token(here[1], len(found.forwards)) if here is not None else ""
        return [Text(f"  {text}{f'  {token}' if token else ''}", style(self.palette.accent)), number]

    def _token(self, column: int, count: int) -> str:
        """The token that a forward pass generated, if known: each pass gives one, at the end of the text."""
        rows = tokens.of(self._trace, "decoder_tokens") or tokens.of(self._trace)
        made = rows[0][-count:] if rows and count > 1 and len(rows[0]) >= count else []
        return f"“{made[column]}”" if made else ""

    def _cell(self, line: Text, what: int, shade: int, here: bool) -> None:
        palette = self.palette
        sign = _SIGNS.get(what, _SHADES[shade])
        color = {generation_grid.PLAIN: palette.blue, generation_grid.DESIGN: palette.warm}.get(what, palette.bad)
        ground = palette.raised if here else ""
        line.append(sign * (1 if what != generation_grid.PLAIN else _CELL - 1), style(color, ground, bold=here))
        line.append("◂" if here else " ", style(palette.warm, ground, bold=True))

    def _first(self, here: tuple[int, int] | None, room: int, count: int) -> int:
        """The first visible column, which depends only on the current cell."""
        return 0 if here is None else max(0, min(here[1] - room // 2, count - room))

    def _scroll(self, here: tuple[int, int] | None) -> None:
        row, height = (here[0] if here else 0) + _HEAD, self.space.height
        self.jump(max(0, row - height // 2) if len(self.lines) > height else 0)

    def action_cell(self, rows: int, columns: int) -> None:
        """Go to the next cell with a call in one direction."""
        found = generation_grid.grid(self._trace)
        here = found.cell_of(self._trace, self._position)
        if here is None:
            return
        row, column = here[0] + rows, here[1] + columns
        while 0 <= row < len(found.rows) and 0 <= column < len(found.forwards):
            if found.cells[row, column] >= 0:
                self.post_message(self.Chosen(int(found.cells[row, column])))
                return
            row, column = row + rows, column + columns

    def on_click(self, event: events.Click) -> None:
        offset, found = event.get_content_offset(self), generation_grid.grid(self._trace)
        if offset is None or not found.rows:
            return
        width = self.space.width
        names = min(max(map(len, found.rows)), max(8, width // 3))
        room = max(1, (width - names - 2) // _CELL)
        first = self._first(found.cell_of(self._trace, self._position), room, len(found.forwards))
        row, column = offset.y + self.scroll_offset.y - _HEAD, first + (offset.x - names - 2) // _CELL
        inside = 0 <= row < len(found.rows) and offset.x >= names + 2 and column < len(found.forwards)
        if inside and found.cells[row, column] >= 0:
            self.post_message(self.Chosen(int(found.cells[row, column])))


def _shades(values: np.ndarray) -> np.ndarray:
    """The shade of each cell, an index into `_SHADES` on a logarithmic scale from the smallest to the largest value."""
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        return np.zeros(values.shape, np.int64)
    logs = np.log(np.where(known, values, values[known].min()))
    low, high = logs[known].min(), logs[known].max()
    share = (logs - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return np.where(known, np.round(share * (len(_SHADES) - 1)), 0).astype(np.int64)
