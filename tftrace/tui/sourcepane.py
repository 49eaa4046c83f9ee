"""The source beside the step: its statement marked, the call underlined, what has run in this call, what it bound."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip

from .. import describe
from ..text import visible
from ..trace import Trace
from .highlight import coloured
from .palette import style
from .pane import Pane, short, strip

_MARGIN = 8  # pointer, line number, bar
_WIDEST = 1_000  # columns one can scroll to
_BEFORE = 3  # lines above the first that runs


class SourcePane(Pane):
    """A file, scrolled so that the call's first line is on top until the current line would leave the view."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("Source", id="source")
        self._trace = trace
        self._position = 0
        self._code: describe.Code | None = None
        self._values: list[str] = []
        self._text: list[Text] = []

    @property
    def cursor(self) -> tuple[str, int] | None:
        """The file and line that were chosen in this pane, while it has the focus."""
        return None

    def show(self, position: int) -> None:
        """Show where the step at `position` stands."""
        self._position = position
        code = self._code = describe.code(self._trace, position)
        self._values = describe.values(self._trace, position)
        if code is None:
            place = describe.place(self._trace, position)
            self._text = []
            self.headline("Source")
            said = (
                f"The trace has no copy of the source of {place}." if place else "The place of this step is not known."
            )
            self.draw([Text(""), Text(f"  {said}", style(self.palette.faint))])
            return
        self.headline(code.title)
        self._text = coloured(code.lines, self.palette.name)
        widest = max(map(len, code.lines), default=0) + _MARGIN
        self.virtual_size = Size(min(widest, _WIDEST), len(code.lines) + len(self._values))
        self.follow()
        self.refresh()

    def clear(self, said: str) -> None:
        """Nothing but a sentence."""
        self._code = None
        super().clear(said)

    def on_resize(self) -> None:
        if self._code is not None:
            self.follow()

    def follow(self) -> None:
        """Scroll: a function of the step alone, so that going back brings the same view back."""
        code, height = self._code, self.space.height
        if code is None:
            return
        runs = [line for line in (*code.done, *code.later) if line]
        top = min([code.first, *runs]) - 1 - _BEFORE
        needed = code.last + len(self._values) - height * 3 // 4
        self.jump(max(top, min(needed, code.first - 2)))

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
        ran = at in code.done or here
        pointer = "▶" if at == code.first else " "
        bar = "┃" if ran else "╎" if at in code.later else " "
        out = Text(no_wrap=True)
        out.append(pointer, style(palette.warm, bold=True))
        out.append(f"{at:>5}", style(palette.warm if here else palette.soft if ran else palette.faint, bold=here))
        out.append(bar, style(palette.warm if here else palette.accent))
        out.append(" ")
        source = self._text[at - 1].copy()
        if here and code.call is not None:
            self._underline(source, code, at)
        out.append_text(source)
        if not here and at in code.done:
            self._append_bound(out, code.done[at], width)
        if here:
            out.append(" " * max(0, width - out.cell_len))
            out.stylize(style(ground=ground))
        return strip(out, self)

    def _underline(self, source: Text, code: describe.Code, at: int) -> None:
        assert code.call is not None
        first, start, last, end = code.call
        if at != first:  # of a call over many lines its first tells which it is
            return
        raw = code.lines[at - 1]
        begin, finish = start, end if first == last else len(raw)
        begin, finish = (len(visible(raw[:column])) for column in (begin, finish))
        source.stylize(style(bold=True, underline=True), begin, finish)

    def _append_bound(self, out: Text, position: int, width: int) -> None:
        """At the end of a line that has run: the names it bound and their shapes, where there is room."""
        names = [found for found in describe.tensors(self._trace, position) if found.fresh]
        said = "  ".join(f"{found.name} {found.shape}" for found in names)
        room = width - out.cell_len - 3
        if said and cell_len(said) <= room:
            out.append("   " + said, style(self.palette.faint, italic=True))

    def _value(self, value: str) -> Strip:
        palette, width = self.palette, self.space.width
        out = Text(" " * _MARGIN, no_wrap=True)
        out.append("  ⇒ ", style(palette.warm, bold=True))
        name, _, rest = value.partition("  ")
        out.append(short(name, width), style(palette.warm))
        out.append("  " + rest, style(palette.soft))
        out.append(" " * max(0, width - out.cell_len))
        out.stylize(style(ground=palette.raised))
        return strip(out, self)
