"""The map of the difference: layers as rows, tokens as columns; the cursor chooses what differs most there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from ...compare.difference_map import SHADES, DifferenceMap, levels
from ...language import tr
from ...language.retell import retold
from ...text import number, visible
from ..paint.heatmap import ink
from ..paint.palette import style
from ..panes.pane import Pane, fit

_HEAD = 2  # lines above the map
_CELL = 2  # columns of a cell


class MapPane(Pane, inherit_bindings=False):
    """The arrow keys move the cursor from cell to cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cell(0, -1)", show=False),
        Binding("right", "cell(0, 1)", show=False),
        Binding("up", "cell(-1, 0)", show=False),
        Binding("down", "cell(1, 0)", show=False),
        Binding("enter", "app.map", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A cell was chosen, and with it the pair of tensors that differs most there."""

        pair: int

    def __init__(self) -> None:
        super().__init__("Layers × tokens", id="map")
        self._map = DifferenceMap([], np.zeros((0, 0)), np.zeros((0, 0), np.int64))
        self._labels: list[str] = []
        self._bound = 0.0
        self.cell = (0, 0)

    def know(self, found: DifferenceMap, labels: list[str], bound: float) -> None:
        """Keep a map; `labels` are the tokens, `bound` what rounding explains."""
        self._map, self._labels, self._bound = found, labels, bound
        if found.values.size:  # the first cell that is more than rounding, else the largest
            values = np.nan_to_num(found.values, nan=-1.0)
            real = np.argwhere(values > bound)
            at = real[0] if len(real) else np.unravel_index(int(values.argmax()), values.shape)
            self.cell = (int(at[0]), int(at[1]))

    def on_resize(self) -> None:
        if self.display:
            self.show()

    def show(self) -> None:
        """Draw the map around the cursor."""
        found, width = self._map, self.space.width
        if not width:
            return
        if not found.values.size:
            return self.clear("Differences by token are not known: no numbers by token could be compared.")
        palette = self.palette
        names = min(max(cell_len(retold(label)) for label in found.labels), max(8, width // 3))
        room = max(1, (width - names - 2) // _CELL)
        first = max(0, min(self.cell[1] - room // 2, found.values.shape[1] - room))
        self.headline("Layers × tokens", "· rounding  ░▒▓█ from there to 1  ⏎ list")
        value = found.values[self.cell]
        token = self._labels[self.cell[1]] if self.cell[1] < len(self._labels) else ""
        size = number(float(value)) if value == value else tr("not known")
        lines = [
            Text(
                tr("  token {at} “{token}”: {size}", at=self.cell[1], token=visible(token), size=size),
                style(palette.accent),
                no_wrap=True,
            )
        ]
        marks = [f"{at:<{_CELL * 5}}" for at in range(first, min(first + room, found.values.shape[1]), 5)]
        lines.append(Text(" " * (names + 2) + "".join(marks)[: room * _CELL], style(palette.faint), no_wrap=True))
        shades = levels(found.values, self._bound)
        for at, label in enumerate(found.labels):
            here = at == self.cell[0]
            line = Text("▶" if here else " ", style(palette.warm, bold=True), no_wrap=True)
            line.append(fit(retold(label), names) + " ", style(palette.text if here else palette.soft, bold=here))
            for column in range(first, min(first + room, found.values.shape[1])):
                known = found.values[at, column] == found.values[at, column]
                level = int(shades[at, column])
                sign = SHADES[level] if known else "?"
                line.append(sign, ink(level / (len(SHADES) - 1), palette.name))
                line.append("◂" if (at, column) == self.cell else " ", style(palette.warm, bold=True))
            lines.append(line)
        self.lines = lines
        self.virtual_size = Size(0, len(lines))
        row, height = self.cell[0] + _HEAD, self.space.height
        self.jump(max(0, row - height // 2) if len(lines) > height else 0)
        self.refresh()

    def action_cell(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        self._choose(self.cell[0] + rows, self.cell[1] + columns)

    def _choose(self, row: int, column: int) -> None:
        height, width = self._map.values.shape
        if 0 <= row < height and 0 <= column < width:
            self.cell = (row, column)
            self.show()
            pair = int(self._map.pairs[self.cell])
            if pair >= 0:
                self.post_message(self.Chosen(pair))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or not self._map.values.size:
            return
        width = self.space.width
        names = min(max(cell_len(retold(label)) for label in self._map.labels), max(8, width // 3))
        room = max(1, (width - names - 2) // _CELL)
        first = max(0, min(self.cell[1] - room // 2, self._map.values.shape[1] - room))
        if offset.x >= names + 2:
            self._choose(offset.y + int(self.scroll_offset.y) - _HEAD, first + (offset.x - names - 2) // _CELL)
