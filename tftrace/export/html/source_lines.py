"""The source lines around the steps of a report, as coloured pieces of text; of a file only what steps stand on."""

from __future__ import annotations

from typing import Any

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from ...text import visible
from ...trace.trace import Trace

_AROUND = 9  # lines shown before and after a step's
_MOST_LINES, _LONGEST = 20_000, 400  # of a file that is coloured, of a line in characters


class Sources:
    """Gathers which lines steps stand on; `files` then has those and the lines around them."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._numbers: dict[str, int] = {}
        self._wanted: list[set[int]] = []

    def place(self, file: str, title: str, first: int, last: int) -> int:
        """The number of a file, of which these lines will be shown."""
        number = self._numbers.setdefault(file, len(self._numbers))
        if number == len(self._wanted):
            self._wanted.append(set())
        self._wanted[number].update(range(max(1, first - _AROUND), min(last, first + 60) + _AROUND + 1))
        return number

    def files(self) -> list[dict[str, Any]]:
        """For each file its lines by number: class and text in turn, the class empty for plain text."""
        found = []
        for file, number in self._numbers.items():
            lines = self._trace.source(file)
            coloured = _coloured(lines) if len(lines) <= _MOST_LINES else [["", visible(line)] for line in lines]
            wanted = sorted(self._wanted[number])
            found.append({"lines": {at: coloured[at - 1] for at in wanted if at <= len(coloured)}})
        return found


def _coloured(lines: list[str]) -> list[list[str]]:
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
    """One letter for what is coloured alike."""
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
