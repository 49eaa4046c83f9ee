"""The source a step stands on, what has run in its call, and what its line bound."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.cells import cell_len

from ..text import visible
from ..trace import schema
from ..trace.trace import Trace
from .phrases import base_name, integer
from .step_row import span
from .tensor_rows import summary


@dataclass(frozen=True, slots=True)
class Code:
    """The source a step stands on: a whole file, the statement's lines (from 1) and the call within it."""

    file: str
    title: str
    lines: list[str]
    first: int
    last: int
    call: tuple[int, int, int, int] | None = None  # line, column, last line, column after it; columns in characters
    done: dict[int, int] = field(default_factory=dict)  # line -> position of its latest run in this call so far
    later: frozenset[int] = frozenset()  # lines that this call runs only after this step
    times: dict[int, int] = field(default_factory=dict)  # line -> how often this call runs it


def code(trace: Trace, position: int) -> Code | None:
    """Where the step stands: a line on itself, a call where it is made, or defined if that is not known."""
    return _line_code(trace, position) or _definition(trace, position)


def _line_code(trace: Trace, position: int) -> Code | None:
    file = trace.column("file")[position]
    lines = trace.source(file)
    first, last = expression = span(trace, position)
    above = trace.parent(position)
    if not 0 < first <= len(lines) or (above is None and trace.column("def_file")[position]):
        return None
    call = None
    caller = trace.call_of(position)
    if caller == position:
        caller = position if above is None else trace.call_of(above)
        if above is not None and above != caller and trace.column("file")[above] == file:
            outer, end = span(trace, above)
            first, last = (outer, max(end, last)) if 0 < outer <= first else (first, last)
        call = _columns(trace, position, lines, expression)
    done, later, times = _executed(trace, caller, position, file)
    qualname = trace.column("type")[position if call is None or above is None else above] or ""
    if call is not None and above is not None and trace.column("kind")[above] == schema.MODULE:
        qualname = f"{qualname}.forward"
    title = " ─ ".join(filter(None, (base_name(file), visible(qualname))))
    return Code(file, title, lines, first, min(last, len(lines)), call, done, later, times)


def _definition(trace: Trace, position: int) -> Code | None:
    file, first = trace.column("def_file")[position], integer(trace, "def_line", position)
    lines = trace.source(file)
    if not 0 < first <= len(lines):
        return None
    qualname = trace.column("type")[position] or ""
    if trace.column("kind")[position] == schema.MODULE:
        qualname = f"{qualname}.forward"
    call = trace.call_of(position)
    _, later, times = _executed(trace, call, call, file)
    while first < len(lines) and lines[first - 1].lstrip().startswith("@"):
        first += 1  # the statement that a reader looks for is the `def` below its decorators
    return Code(file, f"{base_name(file)} ─ {visible(qualname)}", lines, first, first, None, {}, later, times)


def _columns(
    trace: Trace, position: int, lines: list[str], expression: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The expression of a call, its columns in characters (the trace has them in UTF-8 bytes)."""
    first, last = expression
    start, end = (integer(trace, name, position, -1) for name in ("col", "end_col"))
    if start < 0 or end < 0 or last > len(lines):
        return None
    characters = (
        len(lines[at - 1].encode()[:column].decode(errors="ignore")) for at, column in ((first, start), (last, end))
    )
    return (first, next(characters), last, next(characters))


def _executed(
    trace: Trace, call: int, position: int, file: str
) -> tuple[dict[int, int], frozenset[int], dict[int, int]]:
    kinds, files = trace.column("kind"), trace.column("file")
    lines = [at for at in trace.children(call) if kinds[at] == schema.LINE and files[at] == file]
    done = {span(trace, at)[0]: at for at in lines if at <= position}
    later = frozenset(span(trace, at)[0] for at in lines if at > position)
    return done, later - done.keys(), Counter(span(trace, at)[0] for at in lines)


def bound(trace: Trace, position: int, width: int) -> str:
    """What a line bound, as it stands at its end: with as much of each tensor as `width` cells have room for."""
    found = [row for row in trace.tensors_of(position) if row.role == schema.LOCAL]
    if not found:
        return ""
    whole = [summary(row) for row in found]
    named = [" ".join(said.split("  ")[:2]) for said in whole]
    ways = [
        "   ".join(whole),
        "  ".join([whole[0], *named[1:]]),
        "  ".join(named),
        f"{named[0]} …" if named[1:] else "",
    ]
    ways += [whole[0].split("  ")[1] if "  " in whole[0] else ""]
    return next((said for said in ways if said and cell_len(said) <= width), "")


def values(trace: Trace, position: int) -> list[str]:
    """What a line bound, or what a call returned, one text a tensor."""
    role = schema.LOCAL if trace.column("kind")[position] == schema.LINE else schema.OUTPUT
    return [summary(found) for found in trace.tensors_of(position) if found.role == role]
