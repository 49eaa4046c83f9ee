"""The source code of a step: its statement marked, its call underlined, and the lines run so far with their results."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip

from ... import describe
from ...language.retell import retold
from ...navigate import breakpoints as stops
from ...text import visible
from ...trace.trace import Trace
from ..paint.highlight import highlighted
from ..paint.palette import style
from .pane import Pane, short, strip

_MARGIN = 8  # columns for pointer, breakpoint, line number and bar
_WIDEST = 1_000  # columns to scroll to at most


class SourcePane(Pane):
    """A file with the current line in the middle; arrows and clicks move a line cursor for `t`, `b` and `e`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", show=False),
        Binding("down", "cursor(1)", show=False),
        Binding("enter", "app.run_to", show=False),
    ]

    def __init__(self, trace: Trace) -> None:
        super().__init__("Source", id="source")
        self._trace = trace
        self._position = 0
        self._code: describe.Code | None = None
        self._values: list[str] = []
        self._text: list[Text] = []
        self._ends: dict[int, int] = {}  # last line of each statement run so far -> position of its latest run
        self._ran: set[int] = set()
        self._line = 0  # the cursor
        self._stops: frozenset[str] = frozenset()

    @property
    def cursor(self) -> tuple[str, int] | None:
        """File and line of the cursor; None while the pane does not have the focus."""
        return (self._code.file, self._line) if self._code is not None and self.has_focus else None

    @property
    def place(self) -> tuple[str, int] | None:
        """File and line of the cursor; None without source."""
        return None if self._code is None else (self._code.file, self._line)

    def show(self, position: int, stops: frozenset[str] = frozenset()) -> None:
        """Show the source of the step at `position`; `stops` are the patterns of breakpoints."""
        moved = position != self._position or self._code is None
        self._position, self._stops = position, stops
        code = self._code = describe.code(self._trace, position)
        self._values = describe.values(self._trace, position)
        if code is None:
            place = describe.place(self._trace, position)
            self._text = []
            self.headline("Source")
            text = (
                f"The trace has no copy of the source of {place}." if place else "The place of this step is not known."
            )
            self.draw([Text(""), Text(f"  {retold(text)}", style(self.palette.faint))])
            return
        self._line = code.first if moved else self._line
        spans = [(*describe.span(self._trace, at), at) for at in code.done.values()]
        self._ends = {last: at for _, last, at in spans}
        self._ran = {line for first, last, _ in spans for line in range(first, min(last, len(code.lines)) + 1)}
        self.headline(code.title, "↑ ↓ line  t run to it  b break  e edit" if self.has_focus else "")
        self._text = highlighted(code.lines, self.palette.name)
        widest = max(map(len, code.lines), default=0) + _MARGIN
        self.virtual_size = Size(min(widest, _WIDEST), len(code.lines) + len(self._values))
        self.follow()
        self.refresh()

    def clear(self, sentence: str) -> None:
        """Show nothing but a sentence."""
        self._code = None
        super().clear(sentence)

    def on_resize(self) -> None:
        if self._code is not None:
            self.follow()

    def follow(self) -> None:
        """Scroll the current statement to the middle. The view depends only on the step, so it is stable."""
        code, height = self._code, self.space.height
        if code is not None:
            middle = (code.first - 1 + code.last + len(self._values)) // 2
            self.jump(min(middle - height // 2, code.first - 2))

    def on_focus(self) -> None:
        self.show(self._position, self._stops)

    def on_blur(self) -> None:
        self.show(self._position, self._stops)

    def action_cursor(self, lines: int) -> None:
        """Move the cursor, and scroll if it would leave the view."""
        if self._code is not None:
            self._choose(max(1, min(self._line + lines, len(self._code.lines))))

    def _choose(self, line: int) -> None:
        self._line = line
        y, top, height = self._row(line), self.scroll_offset.y, self.space.height
        if not top <= y < top + height:
            self.jump(y - (0 if y < top else height - 1))
        self.refresh()

    def _row(self, line: int) -> int:
        code = self._code
        return line - 1 + (len(self._values) if code is not None and line > code.last else 0)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor; a click on the margin sets a breakpoint, a double click runs to the line."""
        code, offset = self._code, event.get_content_offset(self)
        if code is None or offset is None:
            return
        y = offset.y + self.scroll_offset.y
        line = next((line for line in range(1, len(code.lines) + 1) if self._row(line) == y), 0)
        if line:
            self._choose(line)
            if offset.x < _MARGIN - 1:
                self.call_after_refresh(self.app.run_action, "breakpoint")
            elif event.chain == 2:
                self.call_after_refresh(self.app.run_action, "run_to")

    def line(self, y: int) -> Strip:
        code = self._code
        if code is None:
            return super().line(y)
        last = code.last
        if last <= y < last + len(self._values):
            return self._value(self._values[y - last])
        at = y + 1 if y < last else y + 1 - len(self._values)
        if not 1 <= at <= len(code.lines) or at > len(self._text):
            return Strip.blank(self.space.width, self.ground)
        return self._source(code, at)

    def _source(self, code: describe.Code, at: int) -> Strip:
        palette, width = self.palette, self.space.width
        here = code.first <= at <= code.last
        ground = palette.raised if here else ""
        ran = at in self._ran or here
        chosen = self.has_focus and at == self._line
        pointer = "▶" if at == code.first else "›" if chosen else " "
        broken = bool(self._stops) and stops.line_pattern(code.file, at) in self._stops
        bar = "┃" if ran else "╎" if at in code.later else " "
        number = style(palette.warm if here or chosen else palette.soft if ran else palette.faint, bold=here or chosen)
        out = Text(no_wrap=True)
        out.append(pointer, style(palette.warm, bold=True))
        out.append("●" if broken else " ", style(palette.bad, bold=True))
        out.append(f"{at:>4}", number)
        out.append(bar, style(palette.warm if here else palette.accent))
        out.append(" ")
        source = self._text[at - 1].copy()
        if here and code.call is not None:
            self._underline(source, code, at)
        out.append_text(source)
        if not here:
            self._append_results(out, code, at)
        if here or chosen:
            out.append(" " * max(0, width - out.cell_len))
            out.stylize(style(ground=ground or palette.raised))
        return strip(out, self)

    def _underline(self, source: Text, code: describe.Code, at: int) -> None:
        """Underline the columns of the call on one line."""
        assert code.call is not None
        first, start, last, end = code.call
        raw = code.lines[at - 1]
        if first <= at <= last:
            begin = start if at == first else len(raw) - len(raw.lstrip())
            finish = end if at == last else len(raw)
            begin, finish = (len(visible(raw[:column])) for column in (begin, finish))
            source.stylize(style(bold=True, underline=True), begin, finish)

    def _append_results(self, out: Text, code: describe.Code, at: int) -> None:
        """Append to a line how often this call runs it and what it bound last."""
        times = code.times.get(at, 0)
        text = f"×{times}" if times > 1 else ""
        room = self.space.width - out.cell_len - 3
        if at in self._ends:
            room -= len(text) + 2 if text else 0
            text = "  ".join(filter(None, (text, describe.bound_values(self._trace, self._ends[at], room))))
        if text and cell_len(text) <= self.space.width - out.cell_len - 3:
            out.append(f"   {text}", style(self.palette.faint, italic=True))

    def _value(self, value: str) -> Strip:
        palette, width = self.palette, self.space.width
        out = Text(" " * max(0, min(_MARGIN, width - cell_len(value) - 4)), no_wrap=True)
        out.append("  ⇒ ", style(palette.warm, bold=True))
        name, _, rest = value.partition("  ")
        out.append(short(name, width), style(palette.warm))
        out.append("  " + rest, style(palette.soft))
        out.append(" " * max(0, width - out.cell_len))
        out.stylize(style(ground=palette.raised))
        return strip(out, self)
