"""The highlighted source lines of a report; of each file only the lines around its steps."""

from __future__ import annotations

from typing import Any

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from ...text import visible
from ...trace.trace import Trace

_AROUND = 9  # lines shown before and after a step's
_MOST_LINES, _LONGEST = 20_000, 400  # lines of a file that is highlighted, characters of a line


class Sources:
    """Collects the lines of the steps; `files` then gives them with the lines around them."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._numbers: dict[str, int] = {}
        self._wanted: list[set[int]] = []

    def add(self, file: str, title: str, first: int, last: int) -> int:
        """Ask for lines `first` to `last` of a file and those around them; return the number of the file."""
        number = self._numbers.setdefault(file, len(self._numbers))
        if number == len(self._wanted):
            self._wanted.append(set())
        self._wanted[number].update(range(max(1, first - _AROUND), min(last, first + 60) + _AROUND + 1))
        return number

    def files(self) -> list[dict[str, Any]]:
        """The wanted lines of each file by line number, each a list of alternating CSS class and text."""
        found = []
        for file, number in self._numbers.items():
            lines = self._trace.source(file)
            highlighted = _highlighted(lines) if len(lines) <= _MOST_LINES else [["", visible(line)] for line in lines]
            wanted = sorted(self._wanted[number])
            found.append({"lines": {at: highlighted[at - 1] for at in wanted if at <= len(highlighted)}})
        return found


def _highlighted(lines: list[str]) -> list[list[str]]:
    """Each line as a list of alternating CSS class and text."""
    out: list[list[str]] = [[]]
    shown = "\n".join(visible(line[:_LONGEST]) for line in lines)
    for kind, value in PythonLexer(stripnl=False, ensurenl=True).get_tokens(shown):
        name = _class(kind)
        for at, part in enumerate(value.split("\n")):
            if at:
                out.append([])
            if part and out[-1] and out[-1][-2] == name:
                out[-1][-1] += part
            elif part:
                out[-1] += [name, part]
    return out


def _class(kind: Any) -> str:
    """The CSS class, one letter, of a kind of token; empty for plain text."""
    for name, kinds in _CLASSES.items():
        if any(kind in one for one in kinds):
            return name
    return ""


_CLASSES = {
    "c": (Comment, String.Doc),
    "f": (Name.Function, Name.Class),
    "d": (Name.Decorator, Name.Builtin.Pseudo),
    "k": (Keyword, Operator.Word),
    "s": (String,),
    "n": (Number,),
}
