"""HTML cards of a trace and a step for notebooks. Every text from the trace is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from . import describe
from .language import spoken, tr
from .language.retell import retold
from .text import duration, visible

if TYPE_CHECKING:
    from .trace.trace import Step, Trace

_TOP = 12  # calls of a trace, or children of a step, listed at most


def trace_card(trace: Trace) -> str:
    """The HTML card of a trace: facts about the run, and its first calls."""
    calls = [at for at in range(min(len(trace), 50 * _TOP)) if describe.row(trace, at).kind == "module"][:_TOP]
    said = escape(tr("… of {n} steps:", n=len(trace)))
    more = f'<p>{said} <code>trace[i]</code>, <code>trace.find("*.attention")</code></p>'
    facts = [(tr(name), describe.told_fact(name, value)) for name, value in describe.about(trace)]
    return _table((), facts) + _steps(trace, calls) + (more if len(calls) < len(trace) else "")


def step_card(step: Step) -> str:
    """The HTML card of a step: its source line, equations with verdicts, tensors, and the steps inside it."""
    trace, at = step.trace, step.position
    facts = [step.kind, step.type, describe.place(trace, at), duration(step.duration_ns), step.status]
    title = f"<p><b>{step.position} {_text(describe.path(trace, at))}</b> {_text(' · '.join(filter(None, facts)))}</p>"
    code = describe.code(trace, at)
    lines = code.lines[code.first - 1 : code.last] if code else []
    source = f"<pre>{_text(chr(10).join(lines), lines=True)}</pre>" if lines else ""
    judged = [(found.cite, retold(found.judgement)) for found in describe.equations(trace, at, spoken())]
    rows = [
        (row.role, row.name, row.shape, row.dtype, row.mean, row.std, row.min, row.max, row.odd)
        for row in describe.tensors(trace, at)
    ]
    heads = (tr("role"), tr("name"), tr("shape"), "dtype", tr("mean"), tr("std"), tr("min"), tr("max"), "")
    below = trace.children(at)
    return title + source + _table((), judged) + _table(heads, rows) + _steps(trace, below[:_TOP])


def _steps(trace: Trace, positions: Iterable[int]) -> str:
    found = [describe.row(trace, at) for at in positions]
    rows = [(str(r.position), "  " * r.indent + r.label, r.detail, r.place, _judged(r)) for r in found]
    return _table((tr("step"), tr("name"), tr("type"), tr("line"), tr("verdict")), rows)


def _judged(row: describe.Row) -> str:
    return f"{describe.MARKS[row.verdict]} {retold(row.verdict)}" if row.verdict else row.failed


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>" if body else ""


def _text(text: str, lines: bool = False) -> str:
    """The text escaped for HTML; with `lines`, line breaks are kept."""
    shown = "\n".join(map(visible, text.split("\n"))) if lines else visible(text)
    return escape(shown).replace("  ", "&nbsp;&nbsp;")
