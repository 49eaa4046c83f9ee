"""The list of stops: problems, differences by design, and breakpoints, each with the number of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message

from ... import describe
from ...language import spoken, tr
from ...language.retell import retold
from ...navigate import findings
from ...navigate.breakpoints import Breakpoints
from ...text import visible
from ...trace.trace import Trace
from ..paint.broken_lines import broken
from ..paint.palette import style
from .pane import Pane, first_fitting, short, short_end

PROBLEMS, DESIGNS = -2, -1  # rows that are no breakpoints
_NOTE = 3  # rows shown of a note


class StopsPane(Pane, inherit_bindings=False):
    """A row for problems, one for differences by design if there are any, then one per breakpoint; keys act on the
    chosen row."""

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
            row: `PROBLEMS`, `DESIGNS`, else the breakpoint counted from 0.
        """

        what: str
        row: int

    def __init__(self, trace: Trace) -> None:
        super().__init__("Stops", id="stops")
        self._trace = trace
        self._rows: list[tuple[str, int, bool]] = []
        self._halting = (True, False)  # at problems, at differences by design
        self._steps = 0
        self._note, self._spoken = "", spoken()
        self.chosen = 0

    @property
    def chosen_breakpoint(self) -> int | None:
        """The number of the chosen breakpoint, None on another row."""
        row = self._kinds()[self.chosen]
        return row if row >= 0 else None

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
        halting = breakpoints.wrong, breakpoints.designed
        if (now, halting, size, note, spoken()) != (self._rows, self._halting, self._steps, self._note, self._spoken):
            self._rows, self._halting, self._steps, self._note, self._spoken = now, halting, size, note, spoken()
            self.chosen = min(self.chosen, len(self._kinds()) - 1)
            self._draw()

    def _kinds(self) -> list[int]:
        """What each row is: `PROBLEMS`, `DESIGNS`, or the number of a breakpoint."""
        designs = [DESIGNS] if len(findings.designed(self._trace)) else []
        return [PROBLEMS, *designs, *range(len(self._rows))]

    def _draw(self) -> None:
        palette, width = self.palette, self.space.width
        bad = len(findings.wrong(self._trace))
        text = describe.first_wrong(self._trace)
        wrong, designed = self._halting
        look = style(palette.bad if bad and wrong else palette.faint, bold=bool(bad))
        rows = [
            ("✗" if bad else "✓", retold(text) or tr("nothing went wrong"), str(bad) if bad > 1 else "", look, wrong)
        ]
        if by_design := len(findings.designed(self._trace)):
            look = style(palette.warm if designed else palette.soft)
            text = tr("by design; c stops there" if designed else "by design; c goes past")
            rows.append(("△", text, str(by_design), look, True))
        for typed, steps, on in self._rows:
            rows.append(("●", visible(typed), str(steps), style(palette.text if on else palette.faint), on))
        lines = []
        for at, (sign, text, count, look, on) in enumerate(rows):
            chosen = at == self.chosen and self.has_focus
            out = Text("▶" if chosen else " ", style(palette.warm, bold=True), no_wrap=True)
            color = {"✓": palette.faint, "△": palette.warm}.get(sign, palette.bad) if on else palette.faint
            out.append(f"{sign if on else '○'} ", style(color, bold=True))
            cut = short_end if at else short  # paths differ at the end
            out.append(cut(text, max(4, width - 5 - len(count))), look)
            out.append(" " * max(1, width - out.cell_len - cell_len(count) - 1) + count, style(palette.faint))
            if chosen:
                out.stylize(style(ground=palette.raised))
            lines.append(out)
        if not self._rows:
            text = first_fitting(width - 2, tr("b sets a breakpoint, B a condition"), tr("b sets a breakpoint"))
            lines.append(Text(f"  {text}", style(palette.faint)))
        text = f"✎ {visible(self._note)}" if self._note else ""
        lines += broken(Text(text, style(palette.violet)), max(8, width - 2))[:_NOTE] if text else []
        self.lines = lines
        self.virtual_size = Size(0, len(lines))
        self.headline("Stops", "⏎ next  ␣ on/off  ⌦ remove  B edit" if self.has_focus else "")
        self.styles.height = min(len(lines), 6) + 2
        self.refresh()

    def action_choose(self, rows: int) -> None:
        self.chosen = max(0, min(self.chosen + rows, len(self._kinds()) - 1))
        self.scroll_to(0, max(0, self.chosen - 3), animate=False)
        self._draw()

    def action_switch(self) -> None:
        self._ask("switch")

    def action_remove(self) -> None:
        self._ask("remove")

    def action_next(self) -> None:
        self._ask("next")

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or (row := offset.y + self.scroll_offset.y) >= len(self._kinds()):
            return
        self.chosen = row
        self._ask("switch" if offset.x < 3 else "next")

    def _ask(self, what: str) -> None:
        self.post_message(self.Asked(what, self._kinds()[self.chosen]))
