"""Finds where the values of a TOML file stand in its text, which the standard library's parser does not tell.

The text has been parsed as TOML before; here it is only scanned again, key by key."""

from __future__ import annotations

import re
from contextlib import suppress

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_PLAIN = re.compile(r"[^,\]\}\n#]*")


def places(text: str) -> dict[Path, int]:
    """Find the offset of the value of each key and array item; for a string, that of its first character."""
    walker = _Walker(text)
    with suppress(IndexError, ValueError, RecursionError):  # what was found before is still right
        walker.document()
    return walker.found


class _Walker:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.found: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # how many tables each array has, less one

    def document(self) -> None:
        """Scan the whole text."""
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return
            start = self._at
            if self._next("[["):
                name = self._resolved(self._key(), last=False)
                self._counts[name] = self._counts.get(name, -1) + 1
                table = (*name, self._counts[name])
                self.found[table] = start
                self._at = self._text.index("]]", self._at) + 2
            elif self._next("["):
                table = self._resolved(self._key(), last=True)
                self.found[table] = start
                self._at = self._text.index("]", self._at) + 1
            else:
                self._pair(table)

    def _resolved(self, key: Path, last: bool) -> Path:
        """The path of a table from its header, in which an array of tables means its latest table."""
        path: Path = ()
        for at, part in enumerate(key):
            path = (*path, part)
            if path in self._counts and (last or at < len(key) - 1):
                path = (*path, self._counts[path])
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())
        for n in range(len(table) + 1, len(path)):
            self.found.setdefault(path[:n], start)
        self._skip(_SPACE)
        if not self._next("="):
            raise IndexError
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            found = _KEY.match(self._text, self._at)
            if found is None:
                raise IndexError
            self._at = found.end()
            parts.append(found[0][1:-1] if found[0][0] in "\"'" else found[0])
            self._skip(_SPACE)
            if not self._next("."):
                return tuple(parts)

    def _value(self, path: Path) -> None:
        start = self._at
        self.found[path] = start
        if text := _TEXT.match(self._text, start):
            self.found[path] = start + (3 if text[0][:3] in ('"""', "'''") else 1)
            self._at = text.end()
        elif self._next("["):
            number = 0
            while not self._closed("]"):
                self._value((*path, number))
                number += 1
        elif self._next("{"):
            while not self._closed("}"):
                self._pair(path)
        else:
            self._skip(_PLAIN)

    def _closed(self, bracket: str) -> bool:
        """Whether a list of values ends here; if not, skip to the next value."""
        self._skip(_BLANK)
        self._next(",")
        self._skip(_BLANK)
        if self._at >= len(self._text):
            raise IndexError
        return self._next(bracket)

    def _next(self, mark: str) -> bool:
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
