"""The line to type into, in the place of the status line: a search, a filter, a breakpoint, a note.

It takes each key as the app reads it: over a slow line many come at once, and none may go astray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.widgets import Static

from ...text import visible
from ..paint.palette import DARK, PALETTES, style

_LONGEST = 2000


@dataclass(frozen=True)
class Question:
    """What is asked for: the sign before the text, a hint while it is empty, and what becomes of the answer."""

    sign: str
    hint: str
    done: Callable[[str], str]  # at Enter; a sentence that says why not keeps the prompt open
    typed: Callable[[str], str] = lambda text: ""  # at each change; what it returns stands beside the text
    left: Callable[[], None] = lambda: None  # at Esc


class Prompt(Static):
    """A text with a cursor; what it means is the business of whoever asks."""

    DEFAULT_CSS = """
    Prompt { display: none; height: 1; background: $panel; }
    Prompt.open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="prompt", markup=False)
        self.typed = ""
        self._cursor = 0
        self._said = ""
        self._question: Question | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is being typed."""
        return self._question is not None

    def open(self, question: Question, text: str = "") -> None:
        """Take the place of the status line, with a text to change."""
        self._question, self.typed, self._cursor = question, text, len(text)
        self._said = question.typed(text) if text else ""
        self.add_class("open")
        self.draw()

    def key(self, event: events.Key | events.Paste) -> bool:
        """Take a key; False once the prompt has closed."""
        question = self._question
        if question is None:
            return False
        before = self.typed
        if isinstance(event, events.Key) and event.key in ("escape", "ctrl+c"):
            self._close()
            question.left()
            return False
        if isinstance(event, events.Key) and event.key == "enter":
            self._close()
            self._said = question.done(self.typed)
            if not self._said:
                return False
            self._question = question
            self.add_class("open")
        else:
            self._edit(event)
            if self.typed != before:
                self._said = question.typed(self.typed)
        self.draw()
        return True

    def _close(self) -> None:
        self._question = None
        self.remove_class("open")

    def _edit(self, event: events.Key | events.Paste) -> None:
        text, at = self.typed, self._cursor
        key = "" if isinstance(event, events.Paste) else event.key
        moves = {"left": at - 1, "right": at + 1, "home": 0, "ctrl+a": 0, "end": len(text), "ctrl+e": len(text)}
        if isinstance(event, events.Paste):
            self._insert(event.text.partition("\n")[0])
        elif key in moves:
            self._cursor = max(0, min(moves[key], len(text)))
        elif key in ("backspace", "ctrl+h"):
            self._replace(max(0, at - 1), at)
        elif key in ("delete", "ctrl+d"):
            self._replace(at, at + 1)
        elif key == "ctrl+w":
            self._replace(len(text[:at].rstrip().rpartition(" ")[0]), at)
        elif key == "ctrl+u":
            self._replace(0, at)
        elif event.is_printable and event.character:
            self._insert(event.character)

    def _insert(self, text: str) -> None:
        self._replace(self._cursor, self._cursor, text[: max(0, _LONGEST - len(self.typed))])

    def _replace(self, start: int, end: int, text: str = "") -> None:
        self.typed = self.typed[:start] + text + self.typed[end:]
        self._cursor = start + len(text)

    def draw(self) -> None:
        """Show the text, with its cursor in view, and what there is to say of it."""
        question, width = self._question, self.app.size.width
        if question is None:
            return
        palette = PALETTES.get(self.app.theme, DARK)
        hint = f"{visible(self._said)}   Enter keeps  Esc leaves ".lstrip()
        if cell_len(hint) > width // 2:
            hint = f"{visible(self._said)} "
        room = max(10, width - cell_len(question.sign) - cell_len(hint) - 4)
        before, after = visible(self.typed[: self._cursor]), visible(self.typed[self._cursor :])
        while cell_len(before) >= room:
            before = before[1:]
        out = Text(f" {question.sign}", style(palette.warm, bold=True), no_wrap=True)
        out.append(before, style(palette.text))
        out.append("▏", style(palette.warm))
        out.append(after, style(palette.text)) if self.typed else out.append(question.hint, style(palette.faint))
        out.truncate(max(10, width - cell_len(hint) - 1), overflow="ellipsis")
        out.append(" " * max(1, width - out.cell_len - cell_len(hint)) + hint, style(palette.soft))
        self.update(out)
