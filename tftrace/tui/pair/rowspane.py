"""The list of pairs, each with its mark and the size of its difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from ...language.retell import retold
from ..paint.palette import Palette, style
from ..panes.pane import Pane, fit, fit_end, strip
from .pair_rows import PairRow

_SIZE = 8  # columns for the size of a difference


class RowsPane(Pane, inherit_bindings=False):
    """One line per pair; `●` is a breakpoint."""

    @dataclass
    class Chosen(Message):
        """A row was clicked."""

        row: int

    def __init__(self) -> None:
        super().__init__("Pairs", id="rows")
        self._rows: Sequence[PairRow] = ()
        self._row = 0
        self._broken: frozenset[int] = frozenset()
        self._different: frozenset[int] = frozenset()

    def show(self, rows: Sequence[PairRow], row: int, broken: Sequence[int], different: frozenset[int]) -> None:
        """Draw the rows; `different` are those of roles in which something differs."""
        self._rows, self._row, self._broken, self._different = rows, row, frozenset(broken), different
        self.virtual_size = Size(0, len(rows))
        self.jump(row - self.space.height // 3)
        self.refresh()

    def line(self, y: int) -> Strip:
        if y >= len(self._rows):
            return Strip.blank(self.space.width, self.ground)
        one, palette, here = self._rows[y], self.palette, y == self._row
        sign = "≠" if y in self._different else one.mark
        line = Text("▶" if here else " ", style(palette.warm, bold=True), no_wrap=True)
        line.append("●" if y in self._broken else " ", style(palette.bad, bold=True))
        line.append(f"{sign} ", style(color(sign, palette), bold=True))
        sized = _SIZE if one.size and self.space.width > 2 * _SIZE + 4 else 0
        room = max(1, self.space.width - 4 - sized)
        role = one.label.lstrip()
        role = one.label[: len(one.label) - len(role)] + retold(role)
        label = fit(role, room) if one.role is not None else fit_end(one.label, room)
        line.append(label, style(palette.text if sign not in "=·" else palette.soft, bold=here or one.bold))
        line.append(f"{one.size:>{_SIZE}}" if sized else "", style(palette.faint))
        if here:
            line.stylize(style(ground=palette.raised))
        return strip(line, self)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and (row := offset.y + int(self.scroll_offset.y)) < len(self._rows):
            self.post_message(self.Chosen(row))


def color(sign: str, palette: Palette) -> str:
    """The colour of a mark."""
    colors = {"≠": palette.bad, "?": palette.warm, "~": palette.warm, "≈": palette.good, "=": palette.good}
    return colors.get(sign, palette.faint)
