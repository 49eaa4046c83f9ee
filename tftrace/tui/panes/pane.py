"""The base of all panes: a frame with a title, and lines drawn only when they come into view."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...language.retell import retold
from ..paint.broken_lines import broken
from ..paint.palette import DARK, PALETTES, Palette, style
from ..paint.pictures import Picture

_SENT = ((ControlType.CURSOR_FORWARD, 0),)  # a no-op that marks a segment without width


class Pane(ScrollView, can_focus=True):
    """A frame around `lines`; a pane that computes its lines on demand overrides `line`."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Pane {
        border: round $frame;
        border-title-color: $soft;
        border-title-style: bold;
        border-subtitle-color: $faint;
        background: $background;
        scrollbar-size: 0 1;
        scrollbar-gutter: stable;
    }
    Pane:focus { border: round $accent; border-title-color: $accent; }
    """

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Text] = ()
        self.pictures: Sequence[Picture] = ()
        self.headline(title)

    @property
    def palette(self) -> Palette:
        """The colours of the theme in use."""
        return PALETTES.get(self.app.theme, DARK)

    @property
    def space(self) -> Size:
        """The size of the content area in columns and rows."""
        return self.scrollable_content_region.size

    def headline(self, title: str, subtitle: str = "") -> None:
        """Set title and subtitle, in the language spoken; they may come from a trace, so they are never parsed as
        markup."""
        self.border_title = Text(retold(title))
        self.border_subtitle = Text(retold(subtitle)) if subtitle else ""

    def draw(self, lines: Sequence[Text], pictures: Sequence[Picture] = ()) -> None:
        """Show these lines from the top, with pictures over them."""
        self.lines, self.pictures = lines, pictures
        self.virtual_size = Size(0, len(lines))
        self.jump(0)
        self.refresh()

    def clear(self, sentence: str) -> None:
        """Show nothing but a sentence."""
        self.headline("")
        lines = broken(Text(retold(sentence), style(self.palette.faint)), max(8, self.space.width - 4))
        self.draw([Text(""), *(Text("  ").append_text(line) for line in lines)])

    def jump(self, y: int) -> None:
        """Scroll row `y` to the top at once, even before the layout is updated."""
        self.scroll_to(0, max(0, y), animate=False, immediate=True, force=True)
        self.vertical_scrollbar.position = self.scroll_y  # Textual moves the thumb only while the scrollbar is visible

    def line(self, y: int) -> Strip:
        """Line `y` of the content."""
        if y >= len(self.lines):
            return Strip.blank(self.space.width, self.ground)
        return strip(self.lines[y], self)

    @property
    def ground(self) -> Style:
        """The style of an empty cell."""
        palette = self.palette
        return style(palette.text, palette.ground)

    def render_line(self, y: int) -> Strip:
        offset = self.scroll_offset
        width = self.size.width
        return self.line(y + offset.y).crop_extend(offset.x, offset.x + width, self.ground)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Add the pictures after Textual's filters, which handle only text."""
        drawn = super().render_lines(crop)
        if not self.pictures or not self.screen.is_active or crop.column_span != (0, self.outer_size.width):
            return drawn
        return [self._pictured(one, y) for one, y in zip(drawn, crop.line_range, strict=True)]

    def _pictured(self, drawn: Strip, y: int) -> Strip:
        """Row `y` of the frame with its part of the fully visible pictures; a picture is sent with the row below it."""
        for one in self.pictures:
            top, left = one.row - int(self.scroll_offset.y) + 1, one.column + 1
            if top < 1 or top + one.height > self.size.height:
                continue
            if 0 <= y - top < len(one.cells):
                ends = drawn.crop(0, left), drawn.crop(left + one.width)
                drawn = Strip.join([ends[0], Strip(one.cells[y - top], one.width), ends[1]])
            elif y - top == one.height:
                corner = self.region.offset + (left + 1, top + 1)  # noqa: RUF005 - a sum
                sent = f"\x1b7\x1b[{corner.y};{corner.x}H{one.sent}\x1b8"
                drawn = Strip([Segment(sent, None, _SENT), *drawn], drawn.cell_length)
        return drawn


def strip(text: Text, pane: Pane) -> Strip:
    """A rich text as a strip, without parsing markup or links."""
    base = pane.ground + (text.style if isinstance(text.style, Style) else Style.null())
    segments = [
        Segment(segment.text, base + (segment.style or Style.null()))
        for segment in text.render(pane.app.console)
        if segment.text
    ]
    return Strip(segments)


def fit(text: str, width: int) -> str:
    """The text in exactly `width` cells, cut with an ellipsis or padded."""
    if width <= 0:
        return ""
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def fit_end(text: str, width: int) -> str:
    """The text in exactly `width` cells; a dotted name is cut at its start, because such names differ at the end."""
    if cell_len(text) <= width or "." not in text:
        return fit(text, width)
    while cell_len(text) > max(0, width - 1):
        text = text[1:]
    return set_cell_size("…" + text, max(0, width))


def first_fitting(room: int, *texts: str) -> str:
    """The first text of at most `room` cells; the last text if none fits."""
    return next((text for text in texts if cell_len(text) <= room), texts[-1])


def short_end(text: str, width: int) -> str:
    """The text in at most `width` cells; a dotted name is cut at its start."""
    return text if cell_len(text) <= width else fit_end(text, width)


def short(text: str, width: int) -> str:
    """The text in at most `width` cells."""
    return text if cell_len(text) <= width else fit(text, width)
