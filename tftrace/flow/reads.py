"""What a source line reads: the calls made in it and the variable names beside them.

A tensor that a line reshapes or adds gets a new number that no call returned, so the line's text has to say what it
was made from. The text is only searched for names, never parsed or run, because the trace may come from a stranger."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..trace import schema
from ..trace.rows import TensorRow
from ..trace.trace import Trace

_MOST_LINES, _LONGEST = 40, 8_000  # lines and characters of a statement; a longer one is not read
_TEXT = re.compile(rb"#[^\n]*|(?:\"[^\"\n]*\"|'[^'\n]*')")  # comments and strings contain no names
_KEYWORD = re.compile(rb"\b[A-Za-z_]\w*\s*=(?!=)")
_SIZES = re.compile(  # expressions that use a tensor but not its values
    rb"(?<![\w.])[A-Za-z_]\w*(?:\.(?:shape|device|dtype|ndim|is_\w+)\b|\.(?:size|dim|numel|new_\w+|get_\w+)\s*\()"
    rb"|\b(?:len|isinstance|hasattr|getattr)\s*\(\s*\w+"
)
_NAME = re.compile(rb"(?<![\w.])[A-Za-z_]\w*((?:\.[A-Za-z_]\w*(?!\w*\s*\()|\[\d{1,4}\])*)")
_OPERATORS = ((b"+", "+"), (b"*", "×"), (b"@", "@"))  # the first one found is the operator of a line


@dataclass(frozen=True)
class Reads:
    """What a piece of a source line reads.

    Attributes:
        calls: Positions of the outermost calls in it.
        names: The variables read outside these calls, with attributes and indices (`outputs[0]`).
        operator: The operator between them (`+`, `×`, `@`), or empty.
    """

    calls: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    operator: str = ""


def reads(trace: Trace, line: int, call: int | None = None) -> Reads:
    """Find what a line step reads; with `call`, the position of a call in it, what that call's arguments read."""
    first, last = (_integer(trace, name, line) for name in ("line", "end_line"))
    last = max(first, last)
    lines = trace.source(trace.column("file")[line])[max(first - 1, 0) : last] if first > 0 else []
    if not lines or len(lines) > _MOST_LINES or sum(map(len, lines)) > _LONGEST:
        return Reads()
    rows = [text.encode("utf-8", "replace") for text in lines]
    starts = np.cumsum([0, *(len(row) + 1 for row in rows)]).tolist()
    text = bytearray(b"\n".join(rows))
    inner = _spans(trace, line, first, starts, len(text))
    begin, end = 0, len(text)
    if call is not None:
        if call not in inner:
            return Reads()
        begin, end = inner.pop(call)
        opened = text.find(b"(", begin, end)  # the called function itself is not an argument
        begin = begin if opened < 0 else opened
    else:
        begin = _right_hand_side(bytes(text))
    within = {at: span for at, span in inner.items() if begin <= span[0] < span[1] <= end}
    outer = {at: s for at, s in within.items() if not any(_inside(s, o) for k, o in within.items() if k != at)}
    for low, high in outer.values():
        text[low:high] = b"0" * (high - low)
    rest = bytes(text[begin:end])
    for pattern in (_TEXT, _SIZES, _KEYWORD):
        rest = pattern.sub(b"", rest)
    names = dict.fromkeys(found[0].decode() for found in _NAME.finditer(rest))
    operator = next((shown for sign, shown in _OPERATORS if sign in rest.replace(b"**", b"")), "")
    return Reads(tuple(outer), tuple(names), operator)


def text(trace: Trace, line: int) -> str:
    """The first line of a line step's source; empty if the trace has no copy of it."""
    first = _integer(trace, "line", line)
    lines = trace.source(trace.column("file")[line]) if first > 0 else []
    return lines[first - 1] if 0 < first <= len(lines) else ""


def rows_of_read(rows: list[TensorRow], read: str) -> list[TensorRow]:
    """Choose the rows that a read expression refers to, such as `outputs[0]` among the fields of `outputs`.

    All rows are returned if none can be singled out."""
    exact = [row for row in rows if row.name == read or row.name.startswith((f"{read}.", f"{read}["))]
    if exact or len(rows) < 2:
        return exact or rows
    number = re.fullmatch(r"\w+\[(\d+)\]", read)
    at = int(number[1]) if number else len(rows)
    return rows[at : at + 1] or rows


def variable(name: str) -> str:
    """The variable name in `outputs.last_hidden_state` or `states[0]`."""
    found = re.match(r"\w*", name)
    return found[0] if found else ""


def _spans(trace: Trace, line: int, first: int, starts: list[int], size: int) -> dict[int, tuple[int, int]]:
    """The byte range (begin, end) within a statement of each call made in it."""
    found = {}
    kinds = trace.column("kind")
    for at in trace.children(line):
        if kinds[at] not in schema.CALLS:
            continue
        low, high, col, end_col = (_integer(trace, name, at) for name in ("line", "end_line", "col", "end_col"))
        rows = (low - first, high - first)
        if min(rows) < 0 or max(rows) >= len(starts) - 1 or col < 0 or end_col < 0:
            continue
        span = (starts[rows[0]] + col, starts[rows[1]] + end_col)
        if span[0] < span[1] <= size:
            found[at] = span
    return found


def _right_hand_side(text: bytes) -> int:
    """The offset of an assignment's right-hand side; 0 for an augmented assignment or no assignment."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in b"([{") - (sign in b")]}")
        if sign == ord("=") and depth == 0:
            before, after = text[at - 1 : at], text[at + 1 : at + 2]
            if after == b"=" or before in (b"=", b"<", b">", b"!", b"+", b"-", b"*", b"/", b"@", b"|", b"&", b":"):
                return 0
            return at + 1
    return 0


def _inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether `span` lies inside `other` and is smaller."""
    return other[0] <= span[0] and span[1] <= other[1] and span != other


def _integer(trace: Trace, name: str, position: int) -> int:
    """A number of a step, -1 if the trace has none; limited, because a stranger's trace may claim any."""
    value = trace.column(name)[position]
    return -1 if value is None or value != value else int(min(max(value, -1), 2**40))
