"""The tree of steps, drawn straight from the trace's columns: only rows in view exist, so a million open at once."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from .. import describe, schema
from ..trace import Trace
from .palette import style
from .pane import Pane, fit, short

_NUMBER = 4  # columns of a line's number
_ROOMY = 44  # columns from which a level is indented by two


class StepsPane(Pane, inherit_bindings=False):
    """One row a step; the current one stays a third down, so that the eye stays where it is."""

    @dataclass
    class Chosen(Message):
        """A row was clicked."""

        position: int

    def __init__(self, trace: Trace) -> None:
        super().__init__("Steps", id="steps")
        self._trace = trace
        self._position = 0
        self._matches: list[int] = []

    def on_mount(self) -> None:
        marks = "  ".join(
            f"{describe.MARKS[name]} {count}" for name, count in describe.totals(self._trace).items() if count
        )
        self.headline("Steps", marks)
        self.virtual_size = Size(0, len(self._trace))

    def on_resize(self) -> None:
        self.follow()

    def show(self, position: int, matches: list[int], follow: bool = True) -> None:
        """Make `position` the current row."""
        self._position, self._matches = position, matches
        if follow or not 0 <= position - self.scroll_offset.y < self.space.height:
            self.follow()
        self.refresh()

    def follow(self) -> None:
        """Scroll so that the current row is a third down: a function of the row alone, so going back brings it back."""
        self.jump(self._position - self.space.height // 3)

    def line(self, y: int) -> Strip:
        palette, trace, width = self.palette, self._trace, self.space.width
        if y >= len(trace):
            return Strip.blank(width, self.ground)
        row = describe.row(trace, y)
        here, found = y == self._position, self._matches and self._is_match(y)
        ground = palette.raised if here else palette.ground
        level = min(row.indent * (2 if width >= _ROOMY else 1), max(0, width - 30))
        pointer = "▶" if here else "•" if found else " "
        segments = [Segment(pointer + " " * level, style(palette.warm, ground, bold=True))]
        mark = "!" if row.failed else describe.MARKS.get(row.verdict or "", " ")
        color = palette.bad if row.failed else palette.verdicts[row.verdict]
        rest = width - 1 - level - 3
        if row.kind == schema.LINE:
            number = row.place.rpartition(":")[2]
            segments.append(Segment(f"{number:>{_NUMBER}} ", style(palette.faint, ground)))
            plain = palette.text if here else palette.soft
            segments.append(Segment(fit(row.label, rest - _NUMBER - 1), style(plain, ground, underline=bool(found))))
        else:
            inside = y + 1 < len(trace) and int(trace.ends[y]) > y + 1
            label = short(row.label, rest - 2)
            segments.append(Segment("▾ " if inside else "◦ ", style(palette.accent, ground)))
            segments.append(Segment(label, style(palette.text, ground, bold=True, underline=bool(found))))
            segments.append(Segment(fit(f"  {row.detail}", rest - 2 - cell_len(label)), style(palette.faint, ground)))
        segments.append(Segment(f" {mark} ", style(color, ground, bold=True)))
        return Strip(segments)

    def _is_match(self, position: int) -> bool:
        at = bisect_left(self._matches, position)
        return at < len(self._matches) and self._matches[at] == position

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and (position := offset.y + self.scroll_offset.y) < len(self._trace):
            self.post_message(self.Chosen(position))
