"""An answer that fits: sentences first, then as many items as there is room for, and a cursor to go on with.

The command line prints it as JSON, the MCP server as lines. Both ask for a page of the same `Answer`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import TraceError
from ..export.jsonlines import dumps
from .brief import SENTENCE, cut, shorter

VERSION = 1
ROOM = 4096  # bytes of an answer, if its asker does not say how many items are wanted
MOST_ROOM = 65536  # bytes of an answer, however many are
_SENTENCES, _DETAIL = 8, 24  # at most
_LINE = 500  # characters of an item in one line
_CURSOR = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer.

    Attributes:
        at: Its number: a cursor names the item that comes next by it. Later items have larger ones.
        data: Its content as plain data.
        line: Its content in one line.
    """

    at: int
    data: dict[str, Any]
    line: str


@dataclass(frozen=True)
class Answer:
    """All that there is to say to a question; a `page` of it is what is said.

    Attributes:
        question: The command or tool that was asked.
        sentences: What it comes to, for people, the most important first.
        items: Gives the items whose numbers are at least this one, in order.
        total: How many items there are in all; None if that is not known.
        facts: What it comes to, for programs.
        told: Sentences on the first items, after the first sentence, for a page that does not have these as lines.
        detail: Lines that stand for the facts where it is shown as lines.
        code: The exit code of the command.
    """

    question: str
    sentences: Sequence[str]
    items: Callable[[int], Iterator[Item]]
    total: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    told: Sequence[str] = ()
    detail: Sequence[str] = ()
    code: int = 0

    def page(self, limit: int | None = None, cursor: str | None = None, *, lines: bool = False) -> Page:
        """As much of the answer as fits.

        Args:
            limit: The most items; by default as many as fit into 4 KB. More than 64 KB are never given.
            cursor: The cursor of the page before.
            lines: Whether it will be shown as lines, which need less room than JSON.

        Raises:
            TraceError: There is no such limit or cursor.
        """
        if limit is not None and limit < 0:
            raise TraceError(f"There is no limit {limit}: leave it out, or name a number of items from 0 on.")
        start = _start(cursor)
        said_again = lines and limit != 0 and self.total != 0
        given = [*self.sentences[:1], *(() if said_again else self.told), *self.sentences[1:]]
        sentences = [cut(said, SENTENCE) for said in given[:_SENTENCES] if said]
        if start:
            sentences = [cut(f"This goes on from item {start}.", SENTENCE)]
        detail = [cut(said) for said in self.detail[:_DETAIL]] if lines and not start else []
        page = Page(self, sentences, {} if lines else shorter(self.facts, SENTENCE), detail)
        room = ROOM if limit is None else MOST_ROOM
        page.shrink(room // 2, lines)
        page.fill(self.items(start), limit, room, lines)
        return page


@dataclass
class Page:
    """A page of an answer."""

    answer: Answer
    sentences: list[str]
    facts: dict[str, Any]
    detail: list[str]
    items: list[Item] = field(default_factory=list)
    cursor: str | None = None

    def shrink(self, room: int, lines: bool) -> None:
        """Cut the head until it fits into so many bytes."""
        for most in (200, 100, 50, 20):
            if self._size(lines) <= room:
                return
            self.sentences = [cut(said, most) for said in self.sentences]
            self.facts, self.detail = shorter(self.facts, most), shorter(self.detail, most)
        while len(self.sentences) > 1 and self._size(lines) > room:
            self.sentences.pop()

    def fill(self, items: Iterator[Item], limit: int | None, room: int, lines: bool) -> None:
        """Take items while there is room, at least one of them; the cursor names the first that is left."""
        left = room - self._size(lines)
        for item in items:
            item = Item(item.at, item.data, cut(item.line, _LINE))
            if limit is not None and len(self.items) >= limit:
                self.cursor = str(item.at)
                return
            size = _size(item, lines)
            if size > left and self.items:
                self.cursor = str(item.at)
                return
            for most in (80, 40, 20, 12):
                if size <= left:
                    break
                item = Item(item.at, shorter(item.data, most), cut(item.line, 8 * most))
                size = _size(item, lines)
            left -= size
            self.items.append(item)

    def to_dict(self) -> dict[str, Any]:
        """The page as plain data; schemas of it are in docs/schemas."""
        head = {"version": VERSION, "question": self.answer.question, "sentences": self.sentences}
        items = [item.data for item in self.items]
        return head | self.facts | {"items": items, "total": self.answer.total, "cursor": self.cursor}

    def to_json(self) -> str:
        """The page as JSON, with an item on each line."""
        whole = self.to_dict()
        parts = [f"{dumps(key)}: {dumps(value)}" for key, value in whole.items() if key not in ("items", "cursor")]
        items = ",\n  ".join(dumps(item) for item in whole["items"])
        parts += [f'"items": [{items}]', f'"cursor": {dumps(self.cursor)}']
        return "{" + ",\n ".join(parts) + "}\n"

    def to_lines(self) -> list[str]:
        """The page as lines."""
        lines = [line.rstrip() for line in (*self.sentences, *self.detail, *(item.line for item in self.items))]
        if self.cursor is not None:
            of = "" if self.answer.total is None else f" of {self.answer.total}"
            lines.append(f"… {len(self.items)}{of} shown; more with cursor {self.cursor}")
        return lines

    def _size(self, lines: bool) -> int:
        """How many bytes there are, with room for a cursor."""
        if lines:
            return len("\n".join(self.to_lines()).encode("utf-8", "replace")) + 80
        return len(self.to_json().encode()) + 20


def _size(item: Item, lines: bool) -> int:
    return len(item.line.encode("utf-8", "replace")) + 1 if lines else len(dumps(item.data)) + 4


def _start(cursor: str | None) -> int:
    if cursor is None or cursor == "":
        return 0
    if not _CURSOR.fullmatch(cursor):
        raise TraceError(f"There is no cursor {cut(cursor, 40)!r}: pass the one of the answer before, or none.")
    return int(cursor)


def listed(items: Sequence[tuple[dict[str, Any], str]]) -> Callable[[int], Iterator[Item]]:
    """Items that are all known, by their places in a list."""
    return lambda start: (Item(at, *items[at]) for at in range(start, len(items)))
