"""One line below the panes: where we are, and the keys that lead on."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Static

from .. import describe
from ..trace import Trace
from .keymap import HINTS
from .palette import DARK, PALETTES, style
from .pane import short


class StatusLine(Static):
    """`step 175/1058 · forward 1/1 · encoder.layer.0.attention.self · keys`."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(id="status", markup=False)
        self._trace = trace
        self._forwards = describe.forward_count(trace)

    def show(self, position: int, search: str = "") -> None:
        """Say where `position` is; `search` says where among the matches."""
        palette, trace = PALETTES.get(self.app.theme, DARK), self._trace
        out = Text(" ", no_wrap=True)
        out.append(f"step {position}", style(palette.warm, bold=True))
        out.append(f"/{len(trace) - 1}", style(palette.soft))
        forward = describe.integer(trace, "forward", position) + 1
        out.append(f" · forward {forward}/{self._forwards}", style(palette.soft))
        out.append(f" · {search}" if search else "", style(palette.accent))
        keys = (
            ", .  / search" if search else HINTS if self.app.size.width >= 110 else "s n f c  ⇧ back  / search  ? help"
        )
        room = self.app.size.width - out.cell_len - cell_len(keys) - 6
        path = describe.path(trace, position)
        out.append(f" · {path if cell_len(path) <= room else '…' + path[-max(1, room - 1) :]}", style(palette.text))
        gap = self.app.size.width - out.cell_len - cell_len(keys) - 1
        if gap > 0:
            out.append(" " * gap + keys, style(palette.faint))
        self.update(out)

    def said(self, sentence: str) -> None:
        """Say one sentence until the next key."""
        self.update(Text(f" {short(sentence, max(1, self.app.size.width - 2))}", style(PALETTES[self.app.theme].warm)))
