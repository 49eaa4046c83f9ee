"""The source code of a step, the lines that have run in its call, and the variables that a line bound."""

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
    """The source code of a step.

    Attributes:
        file: Its path.
        title: File and function as text.
        lines: All lines of the file.
        first: First line of the statement, from 1.
        last: Last line of the statement.
        call: First line, start column, last line and end column of the call in it, columns in characters; or None.
        done: For each line that has run in this call, the position of its latest run.
        later: The lines that this call runs only after this step.
        times: How often this call runs each line.
    """

    file: str
    title: str
    lines: list[str]
    first: int
    last: int
    call: tuple[int, int, int, int] | None = None
    done: dict[int, int] = field(default_factory=dict)
    later: frozenset[int] = frozenset()
    times: dict[int, int] = field(default_factory=dict)


def code(trace: Trace, position: int) -> Code | None:
    """The code of a step: of a line, the line; of a call, where it is made, or where its function is defined."""
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
        first += 1  # skip decorators, so that the `def` is shown
    return Code(file, f"{base_name(file)} ─ {visible(qualname)}", lines, first, first, None, {}, later, times)


def _columns(
    trace: Trace, position: int, lines: list[str], expression: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The source range of a call with columns in characters; the trace has them in UTF-8 bytes."""
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
    """`done`, `later` and `times` of `Code` for the lines of a call up to `position`."""
    kinds, files = trace.column("kind"), trace.column("file")
    lines = [at for at in trace.children(call) if kinds[at] == schema.LINE and files[at] == file]
    done = {span(trace, at)[0]: at for at in lines if at <= position}
    later = frozenset(span(trace, at)[0] for at in lines if at > position)
    return done, later - done.keys(), Counter(span(trace, at)[0] for at in lines)


def bound_values(trace: Trace, position: int, width: int) -> str:
    """The tensors that a line bound, with as much detail as fits in `width` terminal cells."""
    found = [row for row in trace.tensors_of(position) if row.role == schema.LOCAL]
    if not found:
        return ""
    full = [summary(row) for row in found]
    brief = [" ".join(text.split("  ")[:2]) for text in full]
    choices = [
        "   ".join(full),
        "  ".join([full[0], *brief[1:]]),
        "  ".join(brief),
        f"{brief[0]} …" if brief[1:] else "",
    ]
    choices += [full[0].split("  ")[1] if "  " in full[0] else ""]
    return next((text for text in choices if text and cell_len(text) <= width), "")


def values(trace: Trace, position: int) -> list[str]:
    """The tensors that a line bound or a call returned, one text each."""
    role = schema.LOCAL if trace.column("kind")[position] == schema.LINE else schema.OUTPUT
    return [summary(found) for found in trace.tensors_of(position) if found.role == role]
