"""A text as lines: English breaks at spaces, Chinese between its characters, and never before a closing mark."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

_NEVER_FIRST = "，。；：、？！”’）》】…,.;:?!)]}%"
_NEVER_LAST = "“‘（《【([{"


def broken(text: Text, width: int) -> list[Text]:
    """A text in lines of at most `width` columns, broken at spaces and between wide characters."""
    return [line for part in text.split("\n", allow_blank=True) for line in _lines(part, max(4, width))]


def _lines(text: Text, width: int) -> list[Text]:
    plain, out, start = text.plain, list[Text](), 0
    while start < len(plain):
        end, used, best = start, 0, start
        while end < len(plain) and used + cell_len(plain[end]) <= width:
            used += cell_len(plain[end])
            end += 1
            if end == len(plain) or _may_break(plain, end):
                best = end
        stop = best if best > start else max(end, start + 1)
        line = text[start:stop]
        line.rstrip()
        out.append(line)
        start = stop
        while start < len(plain) and plain[start] == " ":
            start += 1
    return out or [Text("")]


def _may_break(plain: str, at: int) -> bool:
    """Whether a line may end before the character at `at`."""
    before, after = plain[at - 1], plain[at]
    if after == " ":
        return True
    if after in _NEVER_FIRST or before in _NEVER_LAST:
        return False
    return before == " " or cell_len(before) == 2 or cell_len(after) == 2
