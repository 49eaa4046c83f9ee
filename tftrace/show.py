"""A trace as plain text or JSON, for pipes, logs and terminals without cursor control.

The text has the same content as the screen, with each equation only where it first occurs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from . import describe
from .describe import wrapped
from .errors import TraceError
from .export import jsonlines
from .language import speaking, spoken, tr
from .language.retell import retold
from .navigate.difference_kinds import BY_DESIGN
from .navigate.nonfinite import origins
from .terminal import Paper, Part, document, padded, reader_left
from .text import duration, visible
from .trace import schema
from .trace.trace import Trace

_TEXTS = 8  # texts of a batch whose answers are shown
_BEFORE, _AFTER = 4, 6  # source lines shown before and after a statement
_COLORS = {schema.HOLDS: "green", BY_DESIGN: "yellow", schema.DIFFERS: "bold red", schema.UNCHECKED: "dim", None: ""}
_ABOUT = {"missing": "dim", "made": "bold red", "mode": "yellow"}
_ROLES = {
    schema.INPUT: "blue",
    schema.OUTPUT: "green",
    schema.LOCAL: "yellow",
    schema.PARAMETER: "magenta",
    schema.GRADIENT: "cyan",
}


def show(
    trace: Trace,
    step: int | None = None,
    *,
    as_json: bool = False,
    out: TextIO | None = None,
    limit: int | None = None,
    width: int | None = None,
    language: str | None = None,
) -> None:
    """Write a trace, or one step of it, as text or JSON.

    Args:
        trace: The trace.
        step: Position of the step to write; None for the whole trace.
        as_json: Whether to write JSON instead of text.
        out: The stream; standard output by default.
        limit: How many steps to write at most.
        width: Width of the text in columns; by default that of the terminal, or 100.
        language: Language of the text, one of `tftrace.language.LANGUAGES`; by default the one spoken.

    Raises:
        TraceError: The trace does not have that step.
    """
    if step is not None and not 0 <= step < len(trace):
        has = f"its steps are 0 to {len(trace) - 1}" if len(trace) else "it has no steps"
        raise TraceError(f"There is no step {step} in {trace.path}: {has}.")
    try:
        if as_json:
            document(_json(trace, step, limit), out)
        else:
            output = Paper(out, width)
            with speaking(language or spoken()):
                width = output.width
                for line in _trace_lines(trace, limit, width) if step is None else step_lines(trace, step, width):
                    output.write(line)
            output.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        if out is None:
            reader_left()


# -- the tree ------------------------------------------------------------------------------------------


def _trace_lines(trace: Trace, limit: int | None, width: int) -> Iterator[list[Part]]:
    for name, said in describe.about(trace):
        said = describe.told_fact(name, said)
        for at, line in enumerate(wrapped(said, width - 8) if name == "made" else [said]):
            yield [(padded("" if at else tr(name), 8), "dim"), (line, _ABOUT.get(name, ""))]
    yield []
    kinds, parents = trace.column("kind"), trace.parents
    digits = len(str(max(0, len(trace) - 1)))
    seen: set[str] = set()
    count = len(trace) if limit is None else min(limit, len(trace))
    for at in range(count):
        row = describe.row(trace, at)
        margin = digits + 2 + 2 * min(row.indent, max(0, width - 60) // 2)
        yield _row(row, digits, margin, width)
        if parents[at] < 0:
            for one in describe.forward_answers(trace, at)[:_TEXTS]:
                said = describe.answer_sentence(one, width - margin - 8)
                yield [(" " * (margin + 4), ""), ("≈ ", "yellow"), (said, "")]
        if row.kind == schema.LINE or parents[at] < 0 or kinds[parents[at]] != schema.LINE:
            for text in describe.values(trace, at):
                yield [(" " * (margin + 6), ""), ("⇒ ", "yellow"), (_short(text, width - margin - 8), "dim")]
        if row.kind in schema.CALLS and not seen.issuperset(_equation_ids(trace, at)):
            for equation in describe.equations(trace, at, spoken()):
                if equation.id not in seen:
                    seen.add(equation.id)
                    bar: Part = (" " * (margin + 2) + "│ ", "cyan")
                    yield from ([bar, *line] for line in _equation(equation, width - margin - 4, brief=True))
    if count < len(trace):
        yield [(tr("… {n} more steps", n=len(trace) - count), "dim")]


def _equation_ids(trace: Trace, at: int) -> set[str]:
    """The ids of the equations of a call, without the cost of describing them."""
    names = {trace.column("equation")[at], *(check.equation for check in trace.checks_of(at))}
    return {visible(name) for name in names if name}


def _row(row: describe.Row, digits: int, margin: int, width: int) -> list[Part]:
    number: Part = (f"{row.position:>{digits}}" + " " * (margin - digits), "dim")
    if row.kind == schema.LINE:
        line = row.place.rpartition(":")[2]
        return [number, (f"{line:>5} ", "dim"), (_short(row.label, width - margin - 6), "")]
    judged = describe.MARKS.get(row.verdict or "", "")
    failed = f"  ! {row.failed}" if row.failed else ""
    room = width - margin - 2 - cell_len(judged) - cell_len(failed) - 1
    named = _short(row.label, room)
    detail = _short(f"  {row.detail}" if row.detail else "", room - cell_len(named))
    place = f"  {row.place}" if row.place else ""
    place = place if cell_len(place) <= room - cell_len(named + detail) else ""
    gap = " " * max(1, room - cell_len(named + detail + place) + 1)
    return [
        number, ("▾ ", "cyan"), (named, "bold"), (detail, "cyan"), (place, "dim"), (gap, ""),
        (judged, _COLORS[row.verdict]), (failed, "bold red"),
    ]  # fmt: skip


def _equation(equation: describe.StepEquation, width: int, brief: bool = False) -> Iterator[list[Part]]:
    yield from ([(line, "italic")] for line in wrapped(equation.cite, width))
    yield from ([("  " + line, "bold")] for line in equation.drawn(width - 2))
    if equation.dims:
        yield from ([(line, "blue")] for line in wrapped(equation.dims, width))
    for line in wrapped(retold(equation.judgement), width):
        yield [(line, _COLORS.get(equation.verdict, "bold red"))]
    if brief:
        return
    names = max((cell_len(symbol) for symbol, _ in equation.legend), default=0)
    for symbol, text in equation.legend:
        yield [(f"  {symbol:<{names}}  ", "yellow"), (_short(text, width - names - 4), "")]
    yield from ([(line, "italic dim")] for line in wrapped(equation.note, width))


# -- one step ------------------------------------------------------------------------------------------


def step_lines(trace: Trace, at: int, width: int) -> Iterator[list[Part]]:
    """The lines about one step, each as parts of (text, style), at most `width` columns wide."""
    step = trace[at]
    yield [(tr("step {n}", n=at), "bold yellow"), (f"/{len(trace) - 1} · {describe.path(trace, at)}", "bold")]
    facts = [step.kind, step.type, describe.place(trace, at), duration(step.duration_ns), step.status]
    yield [(" · ".join(visible(fact) for fact in facts if fact), "dim")]
    for origin in origins(trace).of(at):
        yield from ([(line, "bold red")] for line in wrapped(retold(describe.nan_sentence(origin)), width))
    yield []
    yield from _source(trace, at, width)
    for equation in describe.equations(trace, at, spoken()):
        if equation.within:
            yield [(tr("of {call}", call=equation.within), "dim")]
        yield from _equation(equation, width)
        yield []
    yield from _table(describe.tensors(trace, at), width)
    yield from _answers(trace, at, width)


def _answers(trace: Trace, at: int, width: int) -> Iterator[list[Part]]:
    """What a forward took in and gave out, under its outermost step."""
    answers = describe.forward_answers(trace, at) if trace.parents[at] < 0 else []
    for one in answers[:_TEXTS]:
        row = tr("row {n} of {count}", n=one.row + 1, count=len(answers)) if len(answers) > 1 else ""
        yield []
        yield [(describe.answer_sentence(one, width - 14), "bold"), (f"  {row}" if row else "", "dim")]
        for bar, chosen in describe.answer_bars(one, min(width, 100) - 2):
            yield [("  ", ""), (bar, "yellow" if chosen else "blue")]
    if len(answers) > _TEXTS:
        yield [(tr("… and {n} more rows of the batch: --json has them", n=len(answers) - _TEXTS), "dim")]


def _source(trace: Trace, at: int, width: int) -> Iterator[list[Part]]:
    code = describe.code(trace, at)
    if code is None:
        return
    yield [(code.title, "bold")]
    for number in range(max(1, code.first - _BEFORE), min(len(code.lines), code.last + _AFTER) + 1):
        here = code.first <= number <= code.last
        pointer = "▶" if number == code.first else " "
        bar = "┃" if here or number in code.done else "╎" if number in code.later else " "
        raw = code.lines[number - 1]
        text = _short(visible(raw), width - 9)
        yield [(pointer, "bold yellow"), (f"{number:>5}", "dim"), (f" {bar} ", "cyan"), (text, "bold" if here else "")]
        if here and code.call is not None and code.call[0] == code.call[2] == number:
            begin, end = (len(visible(raw[:column])) for column in (code.call[1], code.call[3]))
            yield [(_short(" " * (9 + begin) + "^" * max(1, end - begin), width), "yellow")]
        if number == code.last:
            for value in describe.values(trace, at):
                yield [(" " * 9 + "⇒ ", "yellow"), (_short(value, width - 11), "")]
    yield []


def _table(rows: list[describe.TensorLine], width: int) -> Iterator[list[Part]]:
    heads = (tr("name"), tr("shape"), "μ", "σ", tr("min"), tr("max"), "dtype", "")
    if not rows:
        return
    cells = [(one.name, one.shape, one.mean, one.std, one.min, one.max, one.dtype, one.odd) for one in rows]
    widths = [max(cell_len(cell) for cell in column) for column in zip(heads, *cells, strict=True)]
    widths[0] = max(4, min(widths[0], width - sum(widths[1:]) - 2 * len(widths) - 2))

    def line(row: Iterable[str]) -> str:
        placed = (
            set_cell_size(_short(cell, size), size) if at in (0, 1, 6, 7) else " " * (size - cell_len(cell)) + cell
            for at, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(placed)

    yield [("  " + line(heads), "dim")]
    for one, row in zip(rows, cells, strict=True):
        yield [
            (describe.ROLE_MARKS.get(one.role, "?") + " ", _ROLES.get(one.role, "")),
            (_short(line(row), width - 2), ""),
        ]


def _short(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + "…"


# -- JSON ----------------------------------------------------------------------------------------------


def _json(trace: Trace, step: int | None, limit: int | None) -> Iterator[str]:
    if step is None:
        yield from jsonlines.document(trace, limit)
        return
    found = next(jsonlines.objects(trace, step, step + 1))
    found["tensors"] = [{name: getattr(row, name) for name in schema.TENSORS.names} for row in trace.tensors_of(step)]
    yield jsonlines.dumps(found, indent=1) + "\n"
