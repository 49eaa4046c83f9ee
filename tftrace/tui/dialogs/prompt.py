"""The prompt that replaces the status line, for a search, a filter, a breakpoint or a note.

It handles each key as the app receives it, so that none is lost when many arrive at once over a slow line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.widgets import Static

from ...language import tr
from ...language.retell import retold
from ...text import visible
from ..paint.palette import DARK, PALETTES, style

_LONGEST = 2000  # characters


@dataclass(frozen=True)
class Question:
    """A question of the prompt.

    Attributes:
        sign: The text before the input.
        hint: What is shown while the input is empty.
        done: Called at Enter; a nonempty result is an error message that keeps the prompt open.
        typed: Called at each change; its result is shown beside the input.
        cancelled: Called at Esc.
    """

    sign: str
    hint: str
    done: Callable[[str], str]
    typed: Callable[[str], str] = lambda text: ""
    cancelled: Callable[[], None] = lambda: None


class Prompt(Static):
    """A one-line text input; `Question` says what its text means."""

    DEFAULT_CSS = """
    Prompt { display: none; height: 1; background: $panel; }
    Prompt.open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="prompt", markup=False)
        self.typed = ""
        self._cursor = 0
        self._remark = ""
        self._question: Question | None = None

    @property
    def is_open(self) -> bool:
        """Whether the prompt is open."""
        return self._question is not None

    def open(self, question: Question, text: str = "") -> None:
        """Open the prompt with a text to edit."""
        self._question, self.typed, self._cursor = question, text, len(text)
        self._remark = question.typed(text) if text else ""
        self.add_class("open")
        self.draw()

    def key(self, event: events.Key | events.Paste) -> bool:
        """Handle a key; return False once the prompt is closed."""
        question = self._question
        if question is None:
            return False
        before = self.typed
        if isinstance(event, events.Key) and event.key in ("escape", "ctrl+c"):
            self._close()
            question.cancelled()
            return False
        if isinstance(event, events.Key) and event.key == "enter":
            self._close()
            self._remark = question.done(self.typed)
            if not self._remark:
                return False
            self._question = question
            self.add_class("open")
        else:
            self._edit(event)
            if self.typed != before:
                self._remark = question.typed(self.typed)
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
        """Draw the input with its cursor in view, and the remark beside it."""
        question, width = self._question, self.app.size.width
        if question is None:
            return
        palette = PALETTES.get(self.app.theme, DARK)
        remark, sign = retold(visible(self._remark)), retold(question.sign)
        hint = (remark + tr("   Enter keeps  Esc leaves ")).lstrip()
        if cell_len(hint) > width // 2:
            hint = f"{remark} "
        room = max(10, width - cell_len(sign) - cell_len(hint) - 4)
        before, after = visible(self.typed[: self._cursor]), visible(self.typed[self._cursor :])
        while cell_len(before) >= room:
            before = before[1:]
        out = Text(f" {sign}", style(palette.warm, bold=True), no_wrap=True)
        out.append(before, style(palette.text))
        out.append("▏", style(palette.warm))
        out.append(after, style(palette.text)) if self.typed else out.append(
            retold(question.hint), style(palette.faint)
        )
        out.truncate(max(10, width - cell_len(hint) - 1), overflow="ellipsis")
        out.append(" " * max(1, width - out.cell_len - cell_len(hint)) + hint, style(palette.soft))
        self.update(out)
