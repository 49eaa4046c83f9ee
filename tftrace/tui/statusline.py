"""The status line: the current step, and hints for keys."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.widgets import Static

from .. import describe
from ..language import tr
from ..language.retell import retold
from ..trace.trace import Trace
from .keymap import HINTS, MATCH_HINTS
from .paint.palette import DARK, PALETTES, style
from .panes.pane import short


class StatusLine(Static):
    """The line below the panes: `step 175/1058 · forward 1/1 · layer.0.attention.self  BertSelfAttention · keys`."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(id="status", markup=False)
        self._trace = trace
        self.reading = ""  # progress of background work
        self.sentence = ""  # a message, shown until the next key
        self.read(trace)
        self._clicks: list[tuple[int, int, str]] = []  # begin, end and action of each clickable hint

    def read(self, trace: Trace) -> None:
        """Update what is shown of the whole trace."""
        self._forwards = describe.forward_count(trace)

    def show(self, position: int, search: str = "") -> None:
        """Show the step at `position`; `search` is the place among the search matches."""
        palette, trace, width = PALETTES.get(self.app.theme, DARK), self._trace, self.app.size.width
        if self.sentence:
            return self.say(self.sentence)
        out = Text(" ", no_wrap=True)
        out.append(tr("step {n}", n=position), style(palette.warm, bold=True))
        out.append(f"/{len(trace) - 1}", style(palette.soft))
        forward = describe.integer(trace, "forward", position) + 1
        out.append(tr(" · forward {at}/{all}", at=forward, all=self._forwards), style(palette.soft))
        out.append(f" · {retold(self.reading)}" if self.reading else "", style(palette.accent))
        out.append(f" · {search}" if search else "", style(palette.accent))
        hints = [(tr(text), action) for text, action in (MATCH_HINTS if search else HINTS)]
        path, named = describe.path(trace, position), describe.class_of_module(trace, position)
        wanted = 24 if not named else min(40, 12 + cell_len(named))
        path = f"{path}  {named}" if named else path
        while hints and width - out.cell_len - min(cell_len(path), wanted) < _width(hints) + 4:
            del hints[-2 if len(hints) > 1 else 0]  # help is dropped last
        room = width - out.cell_len - _width(hints) - 5
        out.append(f" · {path if cell_len(path) <= room else '…' + path[-max(1, room - 1) :]}", style(palette.text))
        out.append(" " * max(2, width - out.cell_len - _width(hints) - 1))
        self._clicks = []
        for at, (text, action) in enumerate(hints):
            out.append("  " if at else "")
            if action:
                self._clicks.append((out.cell_len, out.cell_len + cell_len(text), action))
            key, _, word = text.partition(" ")
            out.append(key, style(palette.soft, bold=True))
            out.append(f" {word}", style(palette.faint))
        self.update(out)

    async def on_click(self, event: events.Click) -> None:
        for first, end, action in self._clicks:
            if first <= event.x < end:
                await self.app.run_action(action)

    def say(self, sentence: str) -> None:
        """Show a sentence until the next key."""
        self.sentence = sentence = retold(sentence)
        self.update(Text(f" {short(sentence, max(1, self.app.size.width - 2))}", style(PALETTES[self.app.theme].warm)))


def _width(hints: list[tuple[str, str]]) -> int:
    """The width of these hints in columns."""
    return sum(cell_len(text) + 2 for text, _ in hints) - 2 if hints else 0
