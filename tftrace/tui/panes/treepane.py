"""The tree of steps, drawn from the columns of the trace. Only visible rows exist, so a million steps open at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from ... import describe
from ...navigate import findings
from ...navigate.difference_kinds import BY_DESIGN
from ...navigate.outline import Outline
from ...trace import schema
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import Pane, fit, short

_NUMBER = 4  # columns of a line number
_ROOMY = 44  # from this width in columns, levels are indented by two
_GUTTER = 2  # columns for the pointer, and for a breakpoint or note


@dataclass(frozen=True)
class Marks:
    """What rows are marked with: sorted positions of search matches, enabled breakpoints, and notes."""

    matches: np.ndarray
    breakpoints: np.ndarray
    notes: np.ndarray

    @staticmethod
    def holds(positions: np.ndarray, first: int, end: int) -> bool:
        """Whether one of the sorted positions is in `first` to `end` (exclusive)."""
        at = int(np.searchsorted(positions, first))
        return at < len(positions) and int(positions[at]) < end


NO_MARKS = Marks(*(np.zeros(0, np.int64),) * 3)


class StepsPane(Pane, inherit_bindings=False):
    """One row per step; the current one stays a third from the top."""

    @dataclass
    class Chosen(Message):
        """A row was clicked."""

        position: int

    @dataclass
    class Folded(Message):
        """The fold sign of a call was clicked."""

        position: int

    @dataclass
    class Marking(Message):
        """The breakpoint column was clicked."""

        position: int

    def __init__(self, trace: Trace, outline: Outline) -> None:
        super().__init__("Steps", id="steps")
        self._trace = trace
        self._outline = outline
        self._position = 0
        self._marks = NO_MARKS

    def show(self, position: int, marks: Marks, filtered: str = "", follow: bool = True) -> None:
        """Make `position` the current row."""
        self._position, self._marks = position, marks
        totals = describe.totals(self._trace).items()
        dropping = " · dropout is active" if self._trace.meta.get("dropout") else ""
        self.headline(f"Steps{dropping} & {filtered}" if filtered else f"Steps{dropping}",
                      "  ".join(f"{describe.MARKS[name]} {count}" for name, count in totals if count))  # fmt: skip
        self.virtual_size = Size(0, len(self._outline))
        if follow or not 0 <= self._outline.row(position) - self.scroll_offset.y < self.space.height:
            self.follow()
        self.refresh()

    def on_resize(self) -> None:
        self.follow()

    def follow(self) -> None:
        """Scroll the current row to a third from the top. The view depends only on the row, so it is stable."""
        self.jump(self._outline.row(self._position) - self.space.height // 3)

    def line(self, y: int) -> Strip:
        if y >= len(self._outline):
            return Strip.blank(self.space.width, self.ground)
        palette, trace, width = self.palette, self._trace, self.space.width
        position = self._outline.position(y)
        row, end = describe.row(trace, position), int(trace.ends[position])
        folded = self._outline.is_folded(position)
        last = end if folded else position + 1  # a folded call shows the marks of its contents
        here = y == self._outline.row(self._position)
        found = self._marks.holds(self._marks.matches, position, position + 1)
        ground = palette.raised if here else palette.ground
        level = self._level(row)
        segments = [*self._gutter(position, last, here, ground), Segment(" " * level, style(ground=ground))]
        flag, mark, look = self._verdict(row, position, last, ground)
        rest = width - _GUTTER - level - 3 - len(flag)
        faint = not self._outline.wanted(position)
        if row.kind == schema.LINE:
            number = row.place.rpartition(":")[2]
            segments.append(Segment(f"{number:>{_NUMBER}} ", style(palette.faint, ground)))
            plain = palette.text if here else palette.faint if faint else palette.soft
            segments.append(Segment(fit(row.label, rest - _NUMBER - 1), style(plain, ground, underline=found)))
        else:
            sign = "▸ " if folded else "▾ " if end > position + 1 else "◦ "
            detail = f"  {row.detail}" + (f"  … {end - position - 1}" if folded else "")
            label = short(row.label, rest - 2)
            plain = palette.faint if faint else palette.text
            segments.append(Segment(sign, style(palette.accent, ground)))
            segments.append(Segment(label, style(plain, ground, bold=not faint, underline=found)))
            segments.append(Segment(fit(detail, rest - 2 - cell_len(label)), style(palette.faint, ground)))
        segments += [Segment(flag, style(palette.bad, ground, bold=True)), Segment(f" {mark} ", look)]
        return Strip(segments)

    def _level(self, row: describe.Row) -> int:
        width = self.space.width
        return min(row.indent * (2 if width >= _ROOMY else 1), max(0, width - 30))

    def _gutter(self, position: int, end: int, here: bool, ground: str) -> list[Segment]:
        """The pointer (hollow if the current step is inside a folded call), and a breakpoint or note."""
        palette, marks = self.palette, self._marks
        found = marks.holds(marks.matches, position, end)
        own = position == self._position
        pointer = "▶" if here and own else "▷" if here else "•" if found else " "
        sign, color = " ", palette.text
        if marks.holds(marks.breakpoints, position, end):
            sign, color = "●", palette.bad
        elif marks.holds(marks.notes, position, end):
            sign, color = "✎", palette.violet
        return [
            Segment(pointer, style(palette.warm, ground, bold=True)),
            Segment(sign, style(color, ground, bold=True)),
        ]

    def _verdict(self, row: describe.Row, position: int, end: int, ground: str) -> tuple[str, str, Style]:
        """The NaN or Inf flag, the verdict mark and its style; for a folded call, of all its contents."""
        palette, trace = self.palette, self._trace
        bad = style(palette.bad, ground, bold=True)
        flag = ""
        alarming = findings.alarming(trace)[position:end]
        for name, column in ((" NaN", findings.has_nan(trace)), (" Inf", findings.has_inf(trace))):
            flag = flag or (name if (alarming & column[position:end]).any() else "")
        if row.failed:
            return flag, "!", bad
        inside = findings.verdicts(trace)[position:end]
        worst = findings.VERDICTS[inside.min()] if inside.min() < findings.NONE else None
        verdict = worst if worst in (schema.DIFFERS, BY_DESIGN) else row.verdict
        return flag, describe.MARKS.get(verdict or "", " "), style(palette.verdicts[verdict], ground, bold=True)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or (y := offset.y + self.scroll_offset.y) >= len(self._outline):
            return
        position = self._outline.position(y)
        sign = _GUTTER + self._level(describe.row(self._trace, position))
        if offset.x < _GUTTER:
            self.post_message(self.Marking(position))
        elif self._outline.foldable(position) and sign <= offset.x < sign + 2:
            self.post_message(self.Folded(position))
        else:
            self.post_message(self.Chosen(position))
