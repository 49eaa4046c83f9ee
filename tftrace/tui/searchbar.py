"""The line to type a search into, in the place of the status line.

It takes each key as the app reads it: over a slow line many come at once, and none may go astray."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.widgets import Static

from ..text import visible
from .palette import DARK, PALETTES, style

_LONGEST = 200


class SearchBar(Static):
    """A text that grows at its end; what it means is the app's business."""

    DEFAULT_CSS = """
    SearchBar { display: none; height: 1; background: $panel; }
    SearchBar.open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="search", markup=False)
        self.typed = ""

    @property
    def is_open(self) -> bool:
        """Whether a search is being typed."""
        return self.has_class("open")

    def open(self) -> None:
        """Take the place of the status line."""
        self.typed = ""
        self.add_class("open")
        self.say("")

    def close(self) -> None:
        """Leave it."""
        self.remove_class("open")

    def edit(self, event: events.Key | events.Paste) -> bool:
        """Change the text as the key says; False for a key that does not."""
        if isinstance(event, events.Paste):
            self.typed += event.text.partition("\n")[0]
        elif event.key in ("backspace", "ctrl+h"):
            self.typed = self.typed[:-1]
        elif event.key == "ctrl+w":
            self.typed = self.typed.rstrip().rpartition(" ")[0]
        elif event.key == "ctrl+u":
            self.typed = ""
        elif event.is_printable and event.character:
            self.typed += event.character
        else:
            return False
        self.typed = self.typed[:_LONGEST]
        return True

    def say(self, found: str) -> None:
        """Show the text and how many matches it has."""
        palette = PALETTES.get(self.app.theme, DARK)
        out = Text(" /", style(palette.warm, bold=True), no_wrap=True)
        if self.typed:
            out.append(visible(self.typed), style(palette.text))
        out.append("▏", style(palette.warm))
        if not self.typed:
            out.append("name, class, equation or source text", style(palette.faint))
        hint = f"{found}   Enter keeps  Esc leaves ".lstrip()
        out.append(" " * max(2, self.app.size.width - out.cell_len - len(hint)) + hint, style(palette.soft))
        self.update(out)
