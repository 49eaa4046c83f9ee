"""The values of one tensor: a plane as a table of coloured cells, an overview of the plane, and a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from ... import describe
from ...errors import TraceError
from ...language import later, tr
from ...language.retell import retold
from ...text import number
from ...trace import schema
from ...trace.trace import Trace
from ..dialogs.edit_choice import EditAsked, Target
from ..paint.heatmap import half_blocks, shade, short_number
from ..paint.palette import DARK, PALETTES, style
from ..paint.pictures import Picture, picture
from ..panes.pane import Pane
from .cellscreen import CellScreen
from .celltable import CellMap, Cells

_KEYS = later(
    "↑↓←→ cell   [ ] along the axis   Tab next axis   r turn   = choose (H=3)   x explain   ! what if   Esc back"
)
_BINS = 32


class Overview(Pane):
    """The plane as a small map, and the histogram."""


class ValueScreen(CellScreen):
    """The values of a tensor, sliced by named axes; dismissed with the position to go to, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, show=False, priority=True)
        for key, action in (
            ("right_square_bracket", "along(1)"),
            ("left_square_bracket", "along(-1)"),
            ("tab", "axis(1)"),
            ("shift+tab", "axis(-1)"),
            ("r", "turn"),
            ("equals_sign", "choose"),
            ("x", "explain"),
            ("exclamation_mark", "try"),
            ("q,v,backspace", "leave"),
            ("escape,ctrl+c", "escape"),
        )
    ]
    DEFAULT_CSS = """
    ValueScreen #parts { height: 1fr; }
    ValueScreen Overview { width: 34%; min-width: 28; max-width: 60; }
    ValueScreen Input { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    """

    @dataclass
    class Ready(Message):
        """The values have been read; None if they cannot be read."""

        values: np.ndarray | None

    def __init__(self, trace: Trace, position: int, line: describe.TensorLine) -> None:
        super().__init__()
        self._trace, self._position, self._line = trace, position, line
        self._values: np.ndarray | None = None
        self._plane = describe.default_plane(describe.axes(trace, position, line.row), line.row.shape)
        others = self._plane.others
        long = [at for at, axis in enumerate(others) if line.row.shape[axis] > 1]
        self._axis = long[0] if long else 0  # which of the plane's other axes `[` and `]` move along
        self.at_row, self.at_column = 0, 0
        self._message = ""

    def compose(self) -> ComposeResult:
        with Horizontal(id="parts"):
            yield Overview("", id="overview")
            yield CellMap(id="cells")
        yield Input(placeholder=self._plane.text())
        yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        self.query_one("#cells").focus()
        self.run_worker(self._read, thread=True, exit_on_error=False)

    def _read(self) -> None:
        self.post_message(self.Ready(describe.kept_values(self._trace, self._line.row)))

    def on_value_screen_ready(self, event: Ready) -> None:
        self._values = event.values
        self._message = "" if event.values is not None else "The values cannot be read: check the trace's folder."
        self.redraw()

    # -- keys ---------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave letters and arrows to the input while it is open."""
        return action == "escape" or not self.query_one(Input).display

    def action_leave(self) -> None:
        self.dismiss()

    def action_escape(self) -> None:
        if self.query_one(Input).display:
            self._close_entry()
        else:
            self.dismiss()

    def _close_entry(self) -> None:
        self.query_one(Input).display = False
        self.query_one("#cells").focus()

    def action_cell(self, rows: int, columns: int) -> None:
        height, width = self._cells_shape
        self.at_row = max(0, min(self.at_row + rows, height - 1))
        self.at_column = max(0, min(self.at_column + columns, width - 1))
        self.redraw()

    def action_along(self, by: int) -> None:
        if others := self._plane.others:
            self._plane = self._plane.moved(others[self._axis % len(others)], by)
            self.redraw()

    def action_axis(self, by: int) -> None:
        if others := self._plane.others:
            self._axis = (self._axis + by) % len(others)
            self.redraw()

    def action_turn(self) -> None:
        if self._plane.rows >= 0:
            self._plane = self._plane.turned()
            self.at_row, self.at_column = self.at_column, self.at_row
            self.redraw()

    def action_choose(self) -> None:
        entry = self.query_one(Input)
        entry.value, entry.display = "", True
        entry.focus()

    def action_explain(self) -> None:
        if self._values is not None and self._values.size:
            one, cell = self._line, self.cell
            title = f"{one.name}[{', '.join(map(str, cell))}]"
            work = partial(describe.derive, self._trace, one.at, one.row, cell)
            self.explain(title, work)

    def action_try(self) -> None:
        """Change the token, or the cell, under the cursor."""
        row, cell = self._line.row, self.cell
        if row.role != schema.OUTPUT or len(cell) not in (3, 4):
            self.notify(tr("Only tokens and cells of what a call returned can be changed here."), markup=False)
            return
        heads = {"head": cell[2]} if len(cell) == 4 else {}
        token = heads | {"token": cell[1]}
        named = f"{tr('head {n}', n=cell[2])}, " if heads else ""
        named += tr("token {n}", n=cell[1])
        whole = Target(f"{named}, {tr('channel {n}', n=cell[-1])}", token | {"channel": cell[-1]})
        self.app.post_message(EditAsked(self._line.at, [whole, Target(named, token)]))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self._plane = describe.parse_plane(self._plane, event.value)
            self._message = ""
        except TraceError as error:
            self._message = str(error)
        self._close_entry()
        self.action_cell(0, 0)

    def on_cell_map_chosen(self, event: CellMap.Chosen) -> None:
        self.at_row, self.at_column = event.row, event.column
        self.redraw()

    # -- drawing --------------------------------------------------------------------------------------------

    @property
    def _cells_shape(self) -> tuple[int, int]:
        plane = self._plane
        sizes = [plane.shape[axis] if axis >= 0 else 1 for axis in (plane.rows, plane.columns)]
        return max(1, sizes[0]), max(1, sizes[1])

    @property
    def cell(self) -> tuple[int, ...]:
        """The index of the chosen cell."""
        index = list(self._plane.index)
        for axis, at in ((self._plane.rows, self.at_row), (self._plane.columns, self.at_column)):
            if axis >= 0:
                index[axis] = at
        return tuple(index)

    def redraw(self) -> None:
        palette = PALETTES.get(self.app.theme, DARK)
        cells, overview, about = self.query_one(CellMap), self.query_one(Overview), self.query_one("#about", Static)
        if self._values is None or not self._values.size:
            cells.clear(self._message or ("Reading …" if self._values is None else "The tensor has no elements."))
            about.update(Text(f" {tr(_KEYS)}", style(palette.faint)))
            return
        plane, one = self._plane, self._line
        seen = describe.take_plane(self._values, plane.index, plane.rows, plane.columns)
        seen = np.abs(seen) if np.iscomplexobj(seen) else seen
        labels = [self._labels(axis, size) for axis, size in zip((plane.rows, plane.columns), seen.shape, strict=True)]
        cells.show(
            Cells(seen, labels[0], labels[1], short_number, narrow=8, wide=10, always=True), self.at_row, self.at_column
        )
        cells.headline(f"{one.name}  {one.shape}", one.dtype)
        overview.headline("Plane and histogram")
        overview.draw(*self._overview(overview, seen))
        out = Text(" ", no_wrap=True, overflow="ellipsis")
        others = plane.others
        for axis, name in enumerate(plane.names):
            open_axis = axis in (plane.rows, plane.columns)
            text = f"{name}={':' if open_axis else plane.index[axis]}"
            here = bool(others) and axis == others[self._axis % len(others)]
            out.append(f"[{text}]" if here else f" {text} ", style(palette.warm if here else palette.blue, bold=here))
        value = self._values[self.cell]
        out.append(f"   {one.name}[{', '.join(map(str, self.cell))}] = ", style(palette.soft))
        out.append(number(float(value)) if not np.iscomplexobj(value) else str(value), style(palette.text, bold=True))
        out.append(self._token_text(labels), style(palette.warm))
        out.append(f"\n {retold(self._message) or tr(_KEYS)}", style(palette.bad if self._message else palette.faint))
        about.update(out)

    def _token_text(self, labels: list[list[str]]) -> str:
        plane = self._plane
        seen = ((plane.rows, labels[0][self.at_row]), (plane.columns, labels[1][self.at_column]))
        return "".join(f"   {plane.names[axis]}: {label}" for axis, label in seen if axis >= 0 and not label.isdigit())

    def _labels(self, axis: int, size: int) -> list[str]:
        """The tokens along an axis, else numbers."""
        name = self._plane.names[axis] if axis >= 0 else ""
        batch = self.cell[self._plane.names.index("B")] if "B" in self._plane.names else 0
        found = describe.tokens_along(self._trace, self._position, name, size, batch) if name else []
        return found or [str(n) for n in range(size)]

    def _overview(self, pane: Pane, seen: np.ndarray) -> tuple[list[Text], list[Picture]]:
        palette, room = pane.palette, max(8, pane.space.width - 2)
        small = describe.shrink(seen, max(2, (pane.space.height - 10) * 2), room)
        small = shade(small)[0]
        small = small.repeat(max(1, min(room // small.shape[1], 4)), axis=1).repeat(2 if len(small) < 16 else 1, axis=0)
        size = small.shape[1], (len(small) + 1) // 2
        drawn = picture(shade(seen)[0], palette.name, 0, 1, *size)
        lines = [Text(" ").append_text(line) for line in half_blocks(small, palette.name)]
        assert self._values is not None
        found = describe.histogram(self._values, min(_BINS, room))
        if found is not None:
            lines += [Text("")] + [
                Text(f" {row}", style(palette.accent)) for row in describe.tall_bars(found.counts, 3)
            ]
            low, high = number(found.low), number(found.high)
            lines.append(Text(f" {low}{high:>{max(1, len(found.counts) - len(low))}}", style(palette.soft)))
        one = self._line
        lines += [Text(f" μ {one.mean}  σ {one.std}  {one.odd}", style(palette.soft))]
        return lines, drawn
