"""The grid of a generation, in place of the tree: forwards as columns headed by their tokens, layers as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from ... import describe
from ...language import tr
from ...navigate import generation_grid, timeline
from ...text import visible
from ...trace.trace import Trace
from ..paint.heatmap import ink, shade, short_number
from ..paint.palette import style
from .pane import Pane, first_fitting, fit, short

_SIGNS = {generation_grid.DESIGN: "△", generation_grid.DIFFERS: "✗", generation_grid.BROKEN: "×"}
_WIDE, _USUAL, _NARROW = 11, 8, 6  # columns of a cell: at most, of more cells than fit, and on a narrow screen
_NAMES = 22  # columns of the names of layers, at most
_HEAD = 2  # rows of tokens above the cells: taken in, given out
_FEWEST = 3  # rows of cells that are shown even where the answer then has less room


@dataclass(frozen=True)
class _Frame:
    """What of the grid is visible: columns, rows, and their places on the screen."""

    names: int  # columns of the names
    cell: int  # columns of a cell
    first: int
    last: int
    top: int
    bottom: int

    @property
    def left(self) -> int:
        """The first column of the cells."""
        return self.names + 2


class GridPane(Pane, inherit_bindings=False):
    """Each cell is a call; the arrow keys move the current step from cell to cell. Below: the answer of the forward."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cell(0, -1)", show=False),
        Binding("right", "cell(0, 1)", show=False),
        Binding("up", "cell(-1, 0)", show=False),
        Binding("down", "cell(1, 0)", show=False),
        Binding("home", "end(-1)", show=False),
        Binding("end", "end(1)", show=False),
        Binding("pagedown", "text(1)", show=False),
        Binding("pageup", "text(-1)", show=False),
        Binding("enter", "app.grid", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A cell was chosen."""

        position: int

    def __init__(self, trace: Trace) -> None:
        super().__init__(tr("Layers × forwards"), id="grid")
        self._trace = trace
        self._position = 0
        self._measure = timeline.MEASURES[0]
        self._frame = _Frame(1, 1, 0, 0, 0, 0)
        self.at_text = 0

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
            return self.clear(tr("This trace has no calls of modules to lay out as a grid."))
        here = found.cell_of(self._trace, position)
        below = self._answer(found, here)
        self._frame = frame = self._framed(found, here, len(below))
        time = measure == timeline.MEASURES[0]
        texts = describe.text_count(self._trace, found.roots[here[1]]) if here else 0
        turn = tr("PgDn next of {n} texts", n=texts) if texts > 1 else ""
        values = found.measured(self._trace, measure)
        keys = " · ".join(filter(None, (turn, tr("r measure"), tr("⏎ tree"))))
        unit = _unit(values) if time else ("", 1)
        title = tr("time in {unit} of layers × forwards", unit=unit[0]) if time else tr("L2 norm of layers × forwards")
        brief = tr("time in {unit}", unit=unit[0]) if time else tr("L2 norm")
        self.headline(first_fitting(width - 4, title, brief), first_fitting(width - 4, keys, turn))
        shades = shade(values)[0]
        lines = self._heads(found, here, frame)
        for row in range(frame.top, frame.bottom):
            line, current = Text(no_wrap=True), here is not None and here[0] == row
            line.append("▶" if current else " ", style(self.palette.warm, bold=True))
            look = style(self.palette.text if current else self.palette.soft, bold=current)
            line.append(_fit_name(visible(found.labels[row]), frame.names) + " ", look)
            for column in range(frame.first, frame.last):
                value = float(values[row, column])
                said = _three(value / unit[1], frame.cell - 3) if value == value else ""
                self._cell(line, int(found.found[row, column]), said, float(shades[row, column]), (row, column) == here)
            lines.append(line)
        if hidden := len(found.rows) - (frame.bottom - frame.top):
            lines.append(Text(tr(" {n} more layers: ↑ ↓", n=hidden), style(self.palette.faint)))
        self.draw(lines + below)

    def _framed(self, found: generation_grid.Grid, here: tuple[int, int] | None, below: int) -> _Frame:
        """Choose what is visible; it depends only on the current cell and the size of the pane."""
        width, count = self.space.width, len(found.forwards)
        titles = max(map(cell_len, self._titles(True, True)))
        names = min(max(titles, *map(len, found.labels)), _NAMES, max(titles, width // 3))
        room = width - names - 2
        least = _USUAL if room >= 4 * _USUAL else _NARROW
        cell = max(least, min(_WIDE, room // max(1, count)))
        across = max(1, room // cell)
        at = here or (0, 0)
        first = max(0, min(at[1] - across // 2, count - across))
        high = max(_FEWEST, self.space.height - _HEAD - below)
        high = high if high >= len(found.rows) else max(1, high - 1)  # a line says how many are hidden
        top = max(0, min(at[0] - high // 2, len(found.rows) - high))
        return _Frame(names, cell, first, min(first + across, count), top, min(top + high, len(found.rows)))

    def _heads(self, found: generation_grid.Grid, here: tuple[int, int] | None, frame: _Frame) -> list[Text]:
        """Above each column the token that it took in, and the one that it gave out; the numbers if unknown."""
        palette = self.palette
        rows = [Text(no_wrap=True), Text(no_wrap=True)]
        shown = [
            describe.answer_of_text(self._trace, found.roots[at], self.at_text) for at in range(frame.first, frame.last)
        ]
        known = any(one is not None for one in shown)
        answered = any(one is not None and (one.gave or one.likeliest) for one in shown)
        for line, title in zip(rows, self._titles(known, answered), strict=True):
            line.append(" " + fit(title, frame.names) + " ", style(palette.faint))
        for at, one in zip(range(frame.first, frame.last), shown, strict=True):
            current = here is not None and here[1] == at
            took = str(found.forwards[at] + 1) if not known else "" if one is None else one.newest
            took = f"…{took}" if one is not None and len(one.took) > 1 else took
            gave = "" if one is None else "/".join(one.gave)
            looks = style(palette.soft, bold=current), style(palette.text, bold=True)
            if current:
                looks = style(palette.warm, bold=True), style(palette.warm, bold=True, underline=True)
            for line, said, look in zip(rows, (took, gave), looks, strict=True):
                token = short(said, frame.cell - 1)
                line.append(token, look).append(" " * (frame.cell - cell_len(token)))
        return rows

    @staticmethod
    def _titles(known: bool, answered: bool) -> tuple[str, str]:
        return tr("took in") if known else tr("forward"), tr("gave out") if answered else ""

    def _cell(self, line: Text, what: int, said: str, shade: float, here: bool) -> None:
        palette, width = self.palette, self._frame.cell
        if what == generation_grid.EMPTY:
            line.append(" " * width)
            return
        sign = _SIGNS.get(what, "")
        text = f"{sign}{short(said, width - 3 - len(sign))}"
        text = f"[{text}]" if here else text
        look = style(palette.ground, palette.warm, bold=True) if here else ink(shade, palette.name)
        line.append(f"{text:^{width - 1}}", look).append(" ")

    def _answer(self, found: generation_grid.Grid, here: tuple[int, int] | None) -> list[Text]:
        """Lines on the current forward: its tokens, and the likeliest next ones as bars."""
        if here is None:
            return []
        palette, width = self.palette, self.space.width - 1
        root = found.roots[here[1]]
        number = tr("forward {n} of {count}", n=found.forwards[here[1]] + 1, count=len(found.forwards))
        texts = describe.text_count(self._trace, root)
        number = " · ".join(filter(None, (number, describe.text_title(self._trace, root, self.at_text))))
        lines = [Text(""), Text(f" {short(number, width)}", style(palette.accent), no_wrap=True)]
        one = describe.answer_of_text(self._trace, root, self.at_text)
        if one is None:
            why = (
                tr("This text had ended before.")
                if texts
                else tr("Which tokens it took in and gave out was not recorded.")
            )
            return [*lines, Text(f" {short(why, width)}", style(palette.faint), no_wrap=True)]
        lines.append(Text(f" {describe.answer_sentence(one, width)}", style(palette.text, bold=True), no_wrap=True))
        for bar, chosen in describe.answer_bars(one, width - 1):
            lines.append(Text(f" {bar}", style(palette.warm if chosen else palette.blue, bold=chosen), no_wrap=True))
        return lines

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
        column = here[1] + columns
        if columns and 0 <= column < len(found.forwards):  # where no later forward has this layer, the nearest one
            there = np.flatnonzero(found.cells[:, column] >= 0)
            if len(there):
                row = int(there[np.abs(there - here[0]).argmin()])
                self.post_message(self.Chosen(int(found.cells[row, column])))

    def action_end(self, direction: int) -> None:
        """Go to the first or the last forward that has this layer."""
        found = generation_grid.grid(self._trace)
        here = found.cell_of(self._trace, self._position)
        if here is not None:
            there = np.flatnonzero(found.cells[here[0]] >= 0)
            self.post_message(self.Chosen(int(found.cells[here[0], there[0 if direction < 0 else -1]])))

    def action_text(self, by: int) -> None:
        """Show the next text of a batch, or beam."""
        found = generation_grid.grid(self._trace)
        here = found.cell_of(self._trace, self._position)
        count = 0 if here is None else describe.text_count(self._trace, found.roots[here[1]])
        if count > 1:
            self.at_text = (min(self.at_text, count - 1) + by) % count
            self.show(self._position, self._measure)

    def on_click(self, event: events.Click) -> None:
        offset, found, frame = event.get_content_offset(self), generation_grid.grid(self._trace), self._frame
        if offset is None or not found.rows:
            return
        row = frame.top + offset.y + self.scroll_offset.y - _HEAD
        column = frame.first + (offset.x - frame.left) // frame.cell
        inside = frame.top <= row < frame.bottom and offset.x >= frame.left and column < frame.last
        if inside and found.cells[row, column] >= 0:
            self.post_message(self.Chosen(int(found.cells[row, column])))


def _fit_name(name: str, width: int) -> str:
    """A dotted name in exactly `width` columns: of its first parts a few letters stay, since they tell names apart."""
    parts = name.split(".")
    end = 2 if parts[-1].isdigit() else 1
    ways = [".".join([*(part[:letters] for part in parts[:-end]), *parts[-end:]]) for letters in (99, 3, 1)]
    return fit(first_fitting(width, *ways), width)


def _three(value: float, width: int) -> str:
    """A number with three digits, or more before the point, in at most `width` columns."""
    said = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return said if len(said) <= width else short_number(value, width)


def _unit(nanoseconds: np.ndarray) -> tuple[str, float]:
    """The unit in which most durations need few digits, and how many nanoseconds it has."""
    middle = float(np.nanmedian(nanoseconds)) if np.isfinite(nanoseconds).any() else 0.0
    return next((unit for unit in (("s", 1e9), ("ms", 1e6)) if middle >= unit[1]), ("µs", 1e3))
