"""The screen and the card of a step as SVG and HTML, drawn by a recording console."""

from __future__ import annotations

from html import escape
from typing import Any

from rich.terminal_theme import MONOKAI
from rich.text import Text

from ...terminal import recorder
from ...text import visible
from ...trace.trace import Trace
from ..screened import ScreenedApp
from .picture_files import page
from .wide_letters import spread

_CARD = 100  # columns of a card
_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><title>{title}</title></head>'
    '<body style="margin:0;background:{background}">{drawing}</body></html>\n'
)


def screen_svg(app: ScreenedApp[Any], title: str) -> str:
    """What the terminal shows now, as SVG."""
    return spread(app.export_screenshot(title=visible(title)))


def screen_html(app: ScreenedApp[Any], title: str) -> str:
    """What the terminal shows now, as HTML."""
    background = app.theme_variables.get("background", "#000000")
    return _PAGE.format(title=escape(visible(title)), background=background, drawing=screen_svg(app, title))


def card_svg(trace: Trace, position: int, title: str) -> str:
    """All about a step as text, as `tftrace show --step` has it, as SVG."""
    from ...show import step_lines  # not before it is asked for: the first screen is not to wait for it

    lines = [Text.assemble(*parts) for parts in step_lines(trace, position, _CARD)]
    return _drawn(Text("\n").join(lines), title)


def card_html(trace: Trace, position: int, title: str) -> str:
    """The card of a step as a notebook shows it."""
    from ...card import step_card

    return page(title, step_card(trace[position]))


def _drawn(content: Text, title: str) -> str:
    console = recorder(_CARD)
    console.print(content)
    return spread(console.export_svg(title=visible(title), theme=MONOKAI))
