"""The five sub-steps of attention as a list; the chosen one shows its formula, lines and tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from ... import describe
from ...explain import attention_weights
from ...language import spoken, tr
from ...language.retell import retold
from ...recipes.typeset import symbol_places
from ...trace.trace import Trace
from ..paint.broken_lines import broken
from ..paint.palette import style
from .pane import Pane, first_fitting, short

_KEPT = 8  # attentions in the cache


class SubStepPane(Pane):
    """The part of the equation pane that shows the sub-steps of attention."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "substep_or_scroll(-1)", show=False),
        Binding("down", "substep_or_scroll(1)", show=False),
        Binding("enter", "to_line", show=False),
    ]

    @dataclass
    class GoTo(Message):
        """A line of a sub-step was chosen."""

        position: int

    @dataclass
    class Look(Message):
        """A line of a sub-step is under the cursor: the source is to show it."""

        position: int

    @dataclass
    class Rebuilt(Message):
        """The sub-steps of an attention are ready, with the tensors that a fused kernel did not return."""

        attention: int
        language: str
        substeps: list[describe.SubStep]

    def __init__(self, trace: Trace, title: str, *, id: str) -> None:
        super().__init__(title, id=id)
        self._trace = trace
        self._position = 0
        self._symbols: dict[int, describe.TensorSymbol] = {}
        self._attention: int | None = None
        self._steps: list[describe.SubStep] = []
        self._open = ""  # key of the open sub-step; it stays open from attention to attention
        self._rows: dict[int, tuple[str, int]] = {}  # row -> key of the sub-step, and position of the line, or -1
        self._at: tuple[str, int] | None = None  # the row under the cursor
        self._known: dict[tuple[int, str], list[describe.SubStep]] = {}

    def show(self, position: int) -> None:
        """Show the equations of the step at `position`."""
        raise NotImplementedError

    # -- keys ---------------------------------------------------------------------------------------------

    def choose(self, by: int) -> bool:
        """Open the next or previous sub-step, or none past the last; return False if there is no attention."""
        keys = ["", *(one.key for one in self._steps)]
        if not self._steps:
            return False
        self._choose(keys[(keys.index(self._open) + by) % len(keys)] if self._open in keys else keys[1], -1)
        return True

    def _choose(self, key: str, place: int) -> None:
        """Open a sub-step, and put the cursor on one of its lines, or on its name; the source shows that line."""
        self._open, self._at = key, (key, place) if key else None
        self.show(self._position)
        places = next((one.places for one in self._steps if one.key == key), [])
        self.post_message(self.Look(place if place >= 0 else places[0] if places else self._position))

    def open_substep(self, key: str) -> None:
        """Open a sub-step by its name, here and at the next attention."""
        self._open, self._at = key, (key, -1)
        self.show(self._position)

    def close_substep(self) -> None:
        """Show the equation from its beginning, with no sub-step open."""
        self._open, self._at = "", None
        self.show(self._position)
        self.jump(0)

    def action_substep_or_scroll(self, by: int) -> None:
        """Move the cursor over the names and the lines of the sub-steps; beyond them, scroll."""
        rows = [self._rows[row] for row in sorted(self._rows)]
        here = rows.index(self._at) if self._at in rows else -1
        if rows and 0 <= here + by < len(rows) and (here >= 0 or by > 0):
            self._choose(*rows[here + by])
        else:
            self.jump(max(0, min(int(self.scroll_offset.y) + by, len(self.lines) - self.space.height)))

    def action_to_line(self) -> None:
        if self._at is not None and self._at[1] >= 0:
            self.post_message(self.GoTo(self._at[1]))
            return
        places = next((one.places for one in self._steps if one.key == self._open), [])
        later = [at for at in places if at > self._position]
        if places:
            self.post_message(self.GoTo(later[0] if later else places[0]))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        found = self._rows.get(offset.y + int(self.scroll_offset.y)) if offset is not None else None
        if found is None:
            return
        key, place = found
        if place >= 0:
            self.post_message(self.GoTo(place))
        else:
            self._choose("" if key == self._open else key, -1)

    # -- rebuilding, in a thread -----------------------------------------------------------------------------

    def _begin(self, position: int) -> None:
        """Find the attention at `position` and its sub-steps; rebuild its tensors if a sub-step is open."""
        self._rows = {}
        self._attention = describe.attention_of(self._trace, position)
        if self._attention is None:
            self._steps = []
            return
        key = (self._attention, spoken())
        self._steps = self._known.get(key) or describe.substeps(self._trace, self._attention, spoken())
        if self._open and key not in self._known:
            work = partial(self._rebuild, self._attention, spoken())
            self.run_worker(work, thread=True, exclusive=True, group="substeps", exit_on_error=False)

    def _rebuild(self, attention: int, language: str) -> None:
        found = attention_weights.attention(self._trace, attention)
        self.post_message(self.Rebuilt(attention, language, describe.substeps(self._trace, attention, language, found)))

    def on_sub_step_pane_rebuilt(self, event: Rebuilt) -> None:
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[event.attention, event.language] = event.substeps
        if event.attention == self._attention:
            self.show(self._position)

    # -- drawing --------------------------------------------------------------------------------------------

    def _substeps(self, top: int) -> list[Text]:
        """The lines of the list, which begins at row `top` of the pane."""
        out: list[Text] = [Text("")] if self._steps else []
        for number, one in enumerate(self._steps, 1):
            here = self._position in one.places
            chosen = one.key == self._open
            self._rows[top + len(out)] = (one.key, -1)
            palette = self.palette
            line = Text("▶" if here else " ", style(palette.warm, bold=True), no_wrap=True)
            line.append("▾ " if chosen else "▸ ", style(palette.accent, bold=True))
            line.append(f"{number} {one.name}", style(palette.text if chosen else palette.soft, bold=chosen))
            if not chosen:
                brief = f"   {describe.brief_formula(one)}"
                line.append(short(brief, max(0, self.space.width - line.cell_len - 1)), style(palette.faint))
            out.append(self._under_cursor(line, (one.key, -1)))
            if chosen:
                out += self._opened(one, top + len(out))
        return out

    def _opened(self, one: describe.SubStep, top: int) -> list[Text]:
        palette, width = self.palette, max(12, self.space.width - 6)
        out = []
        hues = {known.symbol: self.palette.hue(known.number) for known in self._symbols.values()}
        for row, spans in zip(*symbol_places.drawn(one.tex, width, one.spelling), strict=True):
            marks = [(a, b, hues[symbol]) for a, b, symbol in spans if symbol in hues]
            out.append(Text("  ").append_text(self._coloured(row, marks)))
        for place in one.places:
            self._rows[top + len(out)] = (one.key, place)
            line = Text("    ", no_wrap=True).append("⏎ ", style(palette.accent))
            line.append(short(describe.numbered_line(self._trace, place), width - 2), style(palette.text))
            out.append(self._under_cursor(line, (one.key, place)))
        if one.fused:
            said = tr("fused: one kernel takes all these steps; --attn eager records each on a line of its own")
            out += self._wrapped(said, style(palette.faint, italic=True), indent=2)
        for tensor in one.tensors:
            line = Text("    ", no_wrap=True)
            said = "O" if tensor.symbol == "out" else tensor.symbol  # as the formula writes it
            line.append(f"{said} ", style(hues.get(tensor.symbol, palette.warm), bold=True))
            line.append(retold(tensor.name), style(palette.text))
            line.append(tr("  rebuilt") if tensor.rebuilt else "", style(palette.violet, italic=True))
            text = f"  {retold(tensor.text)}"
            if line.cell_len + cell_len(text) <= width + 4:
                out.append(line.append(text, style(palette.soft)))
            else:
                ways = (text.strip(), " ".join(text.split()), " ".join(text.partition("[")[0].split()))
                text = short(first_fitting(width, *ways), width)  # rather without the range than with half of it
                out += [line, Text(f"      {text}", style(palette.soft), no_wrap=True)]
        return [*out, *self._wrapped(one.note, style(palette.soft, italic=True), indent=2)]

    def _under_cursor(self, line: Text, row: tuple[str, int]) -> Text:
        """The line, marked if the cursor is on it."""
        if row == self._at and self.has_focus:
            lead = line.plain[:1].strip() or "›"
            line = Text(lead, style(self.palette.warm, bold=True), no_wrap=True).append_text(line[1:])
            line.append(" " * max(0, self.space.width - line.cell_len))
            line.stylize(style(ground=self.palette.raised))
        return line

    def on_focus(self) -> None:
        self.show(self._position)

    def on_blur(self) -> None:
        self.show(self._position)

    def _keep_in_view(self) -> None:
        """Scroll the open sub-step into view with all its lines, and the cursor in any case."""
        starts = [row for row, (key, place) in self._rows.items() if key == self._open and place < 0]
        if not self._open or not starts:
            return
        after = [row for row, (key, place) in self._rows.items() if row > starts[0] and place < 0 and key != self._open]
        end = min(after, default=len(self.lines))
        top, height = max(0, min(starts[0], end - self.space.height)), self.space.height
        cursor = next((row for row, found in self._rows.items() if found == self._at), starts[0])
        self.jump(max(0, min(cursor, max(top, cursor - height + 1))))

    def _coloured(self, row: str, marks: list[tuple[int, int, str]]) -> Text:
        """A row of a drawn equation; `marks` are (begin, end, colour) of its symbols."""
        line = Text(f"  {row}", style(self.palette.text, bold=True), no_wrap=True)
        for first, last, hue in marks:
            line.stylize(style(hue, bold=True), first + 2, last + 2)
        return line

    def _wrapped(self, text: str, look: Style, hang: int = 0, indent: int = 0) -> list[Text]:
        """The text wrapped to the pane; `hang` indents all lines but the first."""
        width = max(8, self.space.width - 4 - hang - indent)
        lines = broken(Text(text, look, no_wrap=True), width)
        return [Text(" " * (2 + indent + (hang if at else 0))).append_text(line) for at, line in enumerate(lines)]
