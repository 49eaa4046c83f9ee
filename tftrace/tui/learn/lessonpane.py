"""The pane of a lesson: what the station says on the left, what is asked on the right, the keys below."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual import events

from ...language import spoken, tr
from ...learn import Station
from ...text import visible
from ..paint.broken_lines import broken
from ..paint.palette import style
from ..panes.pane import Pane
from .lesson_layout import marked

_TWO_COLUMNS = 96  # from this width in columns, what is asked stands beside what is said
_MOST = 0.45  # of the screen's height


@dataclass(frozen=True)
class Feedback:
    """Something to tell the learner: `kind` is good, bad, or empty."""

    text: str
    kind: str = ""


class LessonPane(Pane):
    """Shows one station."""

    def __init__(self) -> None:
        super().__init__("", id="lesson")
        self._clicks: list[tuple[int, int, str]] = []
        self.large = False

    def show(
        self, station: Station, title: str, progress: str, keys: list[tuple[str, str]], feedback: list[Feedback]
    ) -> None:
        """Draw a station; `keys` are what can be pressed, with its action, and `feedback` what is to be told."""
        width = self.app.size.width - 6
        two = width + 6 >= _TWO_COLUMNS
        left = width * 56 // 100 if two else width
        right = width - left - 3 if two else width
        said, asked = self._said(station, left), self._asked(station, right, feedback)
        gap = Text("   ") if two else Text("")
        if two:
            rows = max(len(said), len(asked))
            lines = []
            for at in range(rows):
                first = said[at] if at < len(said) else Text("")
                second = asked[at] if at < len(asked) else Text("")
                line = Text(" ", no_wrap=True).append_text(first)
                line.append(" " * max(0, left + 1 - line.cell_len))
                lines.append(line.append_text(gap).append_text(second))
        else:
            lines = [Text(" ", no_wrap=True).append_text(one) for one in (*said, *asked)]
        most = max(6, int(self.app.size.height * (0.8 if self.large else _MOST)))
        shown = lines[: most - 3] if len(lines) > most - 3 and not self.has_focus else lines
        self._keys(keys, [*shown])
        self.headline(title, progress)
        self.styles.height = min(most, len(self.lines) + 2)
        if len(shown) < len(lines):
            self.headline(title, tr("6: read on"))

    def _said(self, station: Station, width: int) -> list[Text]:
        palette, language = self.palette, spoken()
        key = style(palette.warm, bold=True)
        out = broken(marked(visible_text(station.say[language]), style(palette.text), key), width)
        if station.attempt:
            out += broken(marked("▸ " + visible_text(station.attempt[language]), style(palette.soft), key), width)
        return out

    def _asked(self, station: Station, width: int, feedback: list[Feedback]) -> list[Text]:
        palette = self.palette
        key = style(palette.accent, bold=True)
        out: list[Text] = []
        if station.question is not None:
            asked = marked("? " + visible_text(station.question.ask[spoken()]), style(palette.blue, bold=True), key)
            out += broken(asked, width)
        looks = {"good": style(palette.good, bold=True), "bad": style(palette.bad), "": style(palette.soft)}
        for one in feedback:
            out += broken(Text(visible_text(one.text), looks[one.kind]), width)
        return out

    def _keys(self, keys: list[tuple[str, str]], lines: list[Text]) -> None:
        """Draw the lines, and below them the row of keys, each of which can be clicked."""
        palette, out = self.palette, Text(" ", no_wrap=True)
        self._clicks = []
        for text, action in keys:
            begin = out.cell_len
            name, _, does = text.partition(" ")
            out.append(name, style(palette.warm, bold=True)).append(f" {does}", style(palette.soft))
            self._clicks.append((begin, out.cell_len, action))
            out.append("   ")
        self.draw([*lines, out])

    async def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y + int(self.scroll_offset.y) != len(self.lines) - 1:
            return
        for begin, end, action in self._clicks:
            if begin <= offset.x < end:
                await self.app.run_action(action)


def visible_text(said: str) -> str:
    """A text of a lesson made safe to show; its line ends stay."""
    return "\n".join(map(visible, said.split("\n")))
