"""The list of stops: problems found, and breakpoints, each with the number of steps where it halts."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message

from ... import describe
from ...navigate import findings
from ...navigate.breakpoints import Breakpoints
from ...text import visible
from ...trace.trace import Trace
from ..paint.palette import style
from .pane import Pane, first_fitting, short, short_end

_NOTE = 3  # rows shown of a note


class StopsPane(Pane, inherit_bindings=False):
    """A row for problems, then one per breakpoint; keys act on the chosen row."""

    BINDINGS = [  # noqa: RUF012
        Binding("up", "choose(-1)", show=False),
        Binding("down", "choose(1)", show=False),
        Binding("space", "switch", show=False),
        Binding("delete,minus", "remove", show=False),
        Binding("enter", "next", show=False),
    ]

    @dataclass
    class Asked(Message):
        """The user asked to go to a row's next step, switch it on or off, or remove it.

        Attributes:
            what: `next`, `switch` or `remove`.
            row: 0 for problems, else the breakpoint counted from 1.
        """

        what: str
        row: int

    def __init__(self, trace: Trace) -> None:
        super().__init__("Stops", id="stops")
        self._trace = trace
        self._rows: list[tuple[str, int, bool]] = []
        self._wrong = True
        self._steps = 0
        self._note = ""
        self.chosen = 0

    def on_focus(self) -> None:
        self._draw()

    def on_blur(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def show(self, breakpoints: Breakpoints, note: str = "") -> None:
        """Show the problems, the breakpoints, and the note on the current step."""
        now = [(str(one), len(breakpoints.positions(one)), one.on) for one in breakpoints.all]
        size = len(self._trace)
        if (now, breakpoints.wrong, size, note) != (self._rows, self._wrong, self._steps, self._note):
            self._rows, self._wrong, self._steps, self._note = now, breakpoints.wrong, size, note
            self.chosen = min(self.chosen, len(now))
            self._draw()

    def _draw(self) -> None:
        palette, width = self.palette, self.space.width
        bad = len(findings.wrong(self._trace))
        text = describe.first_wrong(self._trace)
        look = style(palette.bad if bad and self._wrong else palette.faint, bold=bool(bad))
        rows = [("✗" if bad else "✓", text or "nothing went wrong", str(bad) if bad > 1 else "", look, self._wrong)]
        for typed, steps, on in self._rows:
            rows.append(("●", visible(typed), str(steps), style(palette.text if on else palette.faint), on))
        lines = []
        for at, (sign, text, count, look, on) in enumerate(rows):
            chosen = at == self.chosen and self.has_focus
            out = Text("▶" if chosen else " ", style(palette.warm, bold=True), no_wrap=True)
            out.append(
                f"{sign if on else '○'} ", style(palette.bad if sign != "✓" and on else palette.faint, bold=True)
            )
            cut = short_end if at else short  # paths differ at the end
            out.append(cut(text, max(4, width - 5 - len(count))), look)
            out.append(" " * max(1, width - out.cell_len - cell_len(count) - 1) + count, style(palette.faint))
            if chosen:
                out.stylize(style(ground=palette.raised))
            lines.append(out)
        if not self._rows:
            text = first_fitting(width - 2, "b sets a breakpoint, B a condition", "b sets a breakpoint")
            lines.append(Text(f"  {text}", style(palette.faint)))
        text = f"✎ {visible(self._note)}" if self._note else ""
        lines += Text(text, style(palette.violet)).wrap(self.app.console, max(8, width - 2))[:_NOTE] if text else []
        self.lines = lines
        self.virtual_size = Size(0, len(lines))
        self.headline("Stops", "⏎ next  ␣ on/off  ⌦ remove  B edit" if self.has_focus else "")
        self.styles.height = min(len(lines), 6) + 2
        self.refresh()

    def action_choose(self, rows: int) -> None:
        self.chosen = max(0, min(self.chosen + rows, len(self._rows)))
        self.scroll_to(0, max(0, self.chosen - 3), animate=False)
        self._draw()

    def action_switch(self) -> None:
        self.post_message(self.Asked("switch", self.chosen))

    def action_remove(self) -> None:
        self.post_message(self.Asked("remove", self.chosen))

    def action_next(self) -> None:
        self.post_message(self.Asked("next", self.chosen))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or (row := offset.y + self.scroll_offset.y) > len(self._rows):
            return
        self.chosen = row
        self.post_message(self.Asked("switch" if offset.x < 3 else "next", row))
