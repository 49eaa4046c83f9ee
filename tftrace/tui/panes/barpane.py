"""The forward pass in two rows: a measure (time or L2 norm) along its steps, and marks below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.text import Text
from textual import events
from textual.message import Message

from ... import describe
from ...language import spoken
from ...navigate import findings, timeline
from ...text import duration, number
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import Pane
from .treepane import NO_MARKS, Marks

_BLOCKS = " ▁▂▃▄▅▆▇█"
_DECADES = 3  # of time, from an empty column to a full one


class BarPane(Pane, inherit_bindings=False):
    """A bar chart along the steps of a forward pass; a click goes to the step."""

    can_focus = False

    @dataclass
    class Chosen(Message):
        """A column was clicked."""

        position: int

    def __init__(self, trace: Trace) -> None:
        super().__init__("", id="bar")
        self._trace = trace
        self._position, self._marks = 0, NO_MARKS
        self._drawn: tuple[object, ...] = ()
        self._heights: list[Text] = []
        self.measure = timeline.MEASURES[0]

    def on_resize(self) -> None:
        self.show(self._position, self._marks)

    def next_measure(self) -> None:
        """Switch to the next measure."""
        names = timeline.MEASURES
        self.measure = names[(names.index(self.measure) + 1) % len(names)]
        self.show(self._position, self._marks)

    def show(self, position: int, marks: Marks) -> None:
        """Draw the forward pass of `position`, with that step and the marks."""
        self._position, self._marks = position, marks
        width = self.space.width
        if not width:
            return
        first = timeline.root(self._trace, position)
        end = int(self._trace.ends[first])
        key = (first, end, width, self.measure, self.palette.name, len(self._trace), spoken())
        if key != self._drawn:
            self._drawn, self._heights = key, [self._bars(first, end, width)]
        self.draw([*self._heights, self._marks_row(first, end, width)])

    def _bars(self, first: int, end: int, width: int) -> Text:
        palette, timed = self.palette, self.measure == "time"
        found = timeline.measured(self._trace, first, end, width, self.measure)
        most = float(np.nanmax(found, initial=0))
        largest = duration(round(most)) if timed else number(most)
        forward = describe.integer(self._trace, "forward", first) + 1
        name = "time" if timed else "L2 norm"
        self.headline(
            f"{name} along forward {forward}",
            f"max {largest}{' · log' if timed else ''}" if most else "nothing measured",
        )
        share = np.nan_to_num(found) / (most or 1)
        if timed:  # logarithmic, so that one slow step does not hide all others
            share = 1 + np.log10(np.maximum(share, 10.0**-_DECADES)) / _DECADES
        height = np.ceil(share * 8).astype(int).clip(0, 8)
        starts = timeline.column_starts(first, end, width)
        odd = np.logical_or.reduceat(findings.alarming(self._trace)[:end], starts)
        out = Text(no_wrap=True)
        for blocks, is_odd in zip(height.tolist(), odd.tolist(), strict=True):
            out.append("×" if is_odd else _BLOCKS[blocks], style(palette.bad if is_odd else palette.blue))
        return out

    def _marks_row(self, first: int, end: int, width: int) -> Text:
        """The row below the bars, with the current step and the marks."""
        palette = self.palette
        row: list[tuple[str, str]] = [(" ", palette.faint)] * width
        designed, wrong = findings.designed(self._trace), findings.wrong(self._trace)
        rows = ((designed, "△", palette.warm), (self._marks.matches, "•", palette.warm),
                (self._marks.notes, "✎", palette.violet), (self._marks.breakpoints, "●", palette.bad),
                (wrong, "✗", palette.bad))  # fmt: skip
        starts = timeline.column_starts(first, end, width)
        for positions, sign, color in rows:
            inside = positions[np.searchsorted(positions, first) : np.searchsorted(positions, end)]
            for column in np.unique(np.searchsorted(starts, inside, side="right") - 1).tolist():
                row[column] = (sign, color)
        row[timeline.column_of(self._position, first, end, width)] = ("▲", palette.warm)
        out = Text(no_wrap=True)
        for sign, color in row:
            out.append(sign, style(color, bold=True))
        return out

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and 0 <= offset.x < self.space.width:
            first = timeline.root(self._trace, self._position)
            starts = timeline.column_starts(first, int(self._trace.ends[first]), self.space.width)
            self.post_message(self.Chosen(int(starts[offset.x])))
