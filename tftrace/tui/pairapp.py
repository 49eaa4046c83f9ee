"""Two runs side by side: a list of roles, and for the chosen role both sources, both equations and the differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from ..compare import COMPARED, Difference, Pair, align, differences
from ..errors import TraceError
from ..navigate.breakpoints import Breakpoint, matching_steps
from ..text import visible
from ..trace.trace import Trace
from . import session_state
from .dialogs.overlays import HelpScreen
from .keymap import PAIR_KEYMAP, PAIR_SIGNS, bindings
from .paint.palette import DARK, PALETTES, style
from .panes.equationpane import EquationPane
from .panes.pane import Pane, fit, short
from .panes.sourcepane import SourcePane
from .screened import ScreenedApp

_KEYS = "j k move  n N next difference  1 2 step through left, right  ? help"
_NARROW = 130
_ASPECT = 12  # columns for the name of an aspect


class RolesPane(Pane, inherit_bindings=False):
    """One row per role: `≠` different, `·` no difference found, `◁` `▷` only in one run, `●` a breakpoint."""

    @dataclass
    class Chosen(Message):
        """A row was clicked."""

        row: int

    def __init__(self, pairs: list[Pair]) -> None:
        super().__init__("Roles", id="roles")
        self._pairs = pairs

    def show(self, row: int, found: dict[int, list[Difference]], broken: list[int]) -> None:
        """Draw the rows; `found` has the differences known so far, `broken` the rows where a breakpoint halts."""
        palette, width = self.palette, self.space.width
        lines = []
        for at, pair in enumerate(self._pairs):
            here = at == row
            known = found.get(at)
            mark = "◁" if pair.right is None else "▷" if pair.left is None else " "
            mark = mark if mark != " " or known is None else "≠" if known else "·"
            color = {"≠": palette.bad, "·": palette.faint}.get(mark, palette.warm)
            line = Text("▶" if here else " ", style(palette.warm, bold=True), no_wrap=True)
            line.append("●" if at in broken else " ", style(palette.bad, bold=True))
            line.append(f"{mark} ", style(color, bold=True))
            label = f"  {pair.part}" if pair.layer is not None and pair.part != "layer" else pair.label
            look = style(palette.text, bold=here or pair.part == "layer" or pair.layer is None)
            line.append(fit(label.removesuffix(" · layer"), width - 4), look)
            if here:
                line.stylize(style(ground=palette.raised))
            lines.append(line)
        self.draw(lines)
        self.jump(row - self.space.height // 3)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and (row := offset.y + int(self.scroll_offset.y)) < len(self._pairs):
            self.post_message(self.Chosen(row))


class DifferencesPane(Pane):
    """A table of differences: aspect, left, right."""

    def show(self, left: str, right: str, found: list[Difference] | None) -> None:
        """Draw the differences; None while they are being computed."""
        palette, width = self.palette, self.space.width
        half = max(10, (width - _ASPECT - 4) // 2)
        if not found:
            sentence = "Looking …" if found is None else f"The {COMPARED}."
            return self.draw([Text(""), Text(f"  {sentence}", style(palette.faint))])
        head = Text(" " * (_ASPECT + 2) + fit(left, half) + "  " + fit(right, half), style(palette.faint), no_wrap=True)
        lines = [head]
        for one in found:
            texts = [Text(side, style(palette.text)).wrap(self.app.console, half) for side in (one.left, one.right)]
            for at in range(max(len(texts[0]), len(texts[1]))):
                line = Text(f"  {'' if at else fit(one.aspect, _ASPECT):<{_ASPECT}}", style(palette.warm), no_wrap=True)
                for text in texts:
                    part = text[at] if at < len(text) else Text("")
                    line.append_text(part).append(" " * (half + 2 - part.cell_len))
                lines.append(line)
        self.draw(lines)


class PairApp(ScreenedApp[tuple[int, int] | None]):
    """The comparison of two traces by role.

    It returns the side (0 or 1) and position to open in the debugger, or None when the user quits.
    """

    TITLE = "tftrace"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #all { height: 1fr; }
    #roles { width: 34; }
    .side { width: 1fr; }
    .side #source { height: 1fr; }
    .side #equation { height: 1fr; }
    #differences { height: 30%; min-height: 7; }
    #status { height: 1; }
    .-narrow #roles { width: 26; }
    .-narrow .side #source { height: 9; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(PAIR_KEYMAP)]

    @dataclass
    class Compared(Message):
        """The differences of one pair have been computed."""

        row: int
        found: list[Difference]

    def __init__(
        self,
        left: Trace,
        right: Trace,
        language: str = "en",
        row: int | None = None,
        breakpoints: Sequence[Breakpoint] = (),
    ) -> None:
        super().__init__()
        for trace in (left, right):
            if not len(trace):
                raise TraceError(f"{trace.path} has no steps to walk through: record it again.")
        self.traces = (left, right)
        self.language = language
        self.pairs = align(left, right)
        self.broken = self._halts(breakpoints)
        self.row = min(self.broken[0] if row is None and self.broken else row or 0, len(self.pairs) - 1)
        self._found: dict[int, list[Difference]] = {}
        for palette in PALETTES.values():
            self.register_theme(palette.theme())
        self.theme = session_state.load_theme()

    def compose(self) -> ComposeResult:
        with Horizontal(id="all"):
            yield RolesPane(self.pairs)
            with Vertical():
                with Horizontal():
                    for trace in self.traces:
                        with Vertical(classes="side"):
                            yield SourcePane(trace)
                            yield EquationPane(trace, self.language)
                yield DifferencesPane("What differs", id="differences")
        yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self.show)
        self.run_worker(self._compare, thread=True, exit_on_error=False)

    def on_resize(self, event: events.Resize) -> None:
        self.screen.set_class(event.size.width < _NARROW, "-narrow")
        self.call_after_refresh(self.show)

    def _compare(self) -> None:
        """Compute all differences in a thread, nearest pairs first; attention may have to be rebuilt for them."""
        rows = sorted(range(len(self.pairs)), key=lambda row: abs(row - self.row))
        for row in rows:
            if not self.is_running:
                return
            self.post_message(self.Compared(row, differences(*self.traces, self.pairs[row], self.pairs)))

    def on_pair_app_compared(self, event: Compared) -> None:
        self._found[event.row] = event.found
        if len(self._found) == len(self.pairs) or event.row == self.row or len(self._found) % 16 == 0:
            self._mark()

    def _mark(self) -> None:
        """Draw the differences known so far."""
        self.query_one(RolesPane).show(self.row, self._found, self.broken)
        self.query_one(DifferencesPane).show(*self._names, self._found.get(self.row))

    def _halts(self, breakpoints: Sequence[Breakpoint]) -> list[int]:
        """The rows with a breakpoint in either run; a step belongs to the innermost role around it."""
        found: set[int] = set()
        for side, trace in enumerate(self.traces):
            rows = np.full(len(trace), -1)
            for row, pair in enumerate(self.pairs):
                if (at := (pair.left, pair.right)[side]) is not None:
                    rows[at] = row
            halts = np.zeros(len(trace), np.bool_)
            for one in breakpoints:
                halts |= matching_steps(trace, one)
            here = np.flatnonzero(halts)
            while here.size:
                found.update(rows[here][rows[here] >= 0].tolist())
                here = np.unique(trace.parents[here[rows[here] < 0]])
                here = here[here >= 0]
        return sorted(found)

    @property
    def _names(self) -> tuple[str, str]:
        left, right = self.traces
        return _name(left), _name(right)

    def show(self) -> None:
        """Draw the chosen pair."""
        pair, names = self.pairs[self.row], self._names
        self._mark()
        sources, equations = list(self.query(SourcePane)), list(self.query(EquationPane))
        for side, position in enumerate((pair.left, pair.right)):
            if position is None:
                sources[side].clear(f"{names[side]} has no {pair.part} here.")
                equations[side].clear(f"{names[side]} has no {pair.part} here.")
            else:
                sources[side].show(position)
                equations[side].show(position)
        self.query_one(DifferencesPane).headline(f"What differs ─ {pair.label}")
        palette = PALETTES.get(self.theme, DARK)
        line = Text(f" {names[0]} ◁ ▷ {names[1]}", style(palette.warm, bold=True), no_wrap=True)
        line.append(f" · {pair.label}", style(palette.text))
        gap = self.size.width - line.cell_len - len(_KEYS) - 1
        keys = _KEYS if gap > 0 else short("j k n N 1 2 ? help", max(1, self.size.width - line.cell_len - 2))
        gap = max(1, self.size.width - line.cell_len - len(keys) - 1)
        self.query_one("#status", Static).update(line.append(" " * gap + keys, style(palette.faint)))

    # -- keys ---------------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self.row = max(0, min(self.row + rows, len(self.pairs) - 1))
        self.show()

    def action_differing(self, by: int) -> None:
        """Go to the next or previous role that differs or exists in only one run."""
        rows = range(self.row + 1, len(self.pairs)) if by > 0 else range(self.row - 1, -1, -1)
        found = next((row for row in rows if self._found.get(row)), None)
        if found is not None:
            self.row = found
            self.show()

    def action_stop(self, by: int) -> None:
        """Go to the next or previous role where a breakpoint halts."""
        later = [row for row in self.broken if (row - self.row) * by > 0]
        if later:
            self.row = later[0] if by > 0 else later[-1]
            self.show()

    def action_open(self, side: int) -> None:
        position = (self.pairs[self.row].left, self.pairs[self.row].right)[side]
        if position is not None:
            self.exit((side, position))

    def action_language(self) -> None:
        self.language = "zh" if self.language == "en" else "en"
        for pane in self.query(EquationPane):
            pane.language = self.language
        self.show()

    def action_theme(self) -> None:
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        session_state.save_theme(self.theme)
        self.show()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(PAIR_KEYMAP, PAIR_SIGNS))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the keys under the help."""
        return len(self.screen_stack) < 2

    def on_roles_pane_chosen(self, event: RolesPane.Chosen) -> None:
        self.row = event.row
        self.show()


def _name(trace: Trace) -> str:
    return visible(str(trace.meta.get("model") or trace.path.name))


def run_pair(left: Trace, right: Trace, language: str = "en", breakpoints: Sequence[Breakpoint] = ()) -> None:
    """Open two traces side by side and return when the user quits; in between, steps may be opened in the debugger."""
    from .app import TraceApp

    app = PairApp(left, right, language, breakpoints=breakpoints)
    while (chosen := app.run()) is not None:
        side, position = chosen
        TraceApp(app.traces[side], app.language, start=position, breakpoints=breakpoints).run()
        app = PairApp(left, right, app.language, app.row, breakpoints)
