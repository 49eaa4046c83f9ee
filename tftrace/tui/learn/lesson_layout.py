"""The text of a lesson: words between backticks stand out."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text


def marked(said: str, look: Style, key: Style) -> Text:
    """A text in which what stands between backticks has the look of a key."""
    out = Text(no_wrap=True)
    for at, part in enumerate(said.split("`")):
        out.append(part, key if at % 2 else look)
    return out
