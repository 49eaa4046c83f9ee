"""A step as a row of the tree: its label, depth, source line and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..navigate import findings
from ..navigate.edited_steps import edits_of
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace
from .phrases import base_name, integer

EDITED = "✎"  # before what was changed on purpose
_DEEPEST = 60  # levels of indentation at most; a stranger's trace may have any depth


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the tree of steps; `failed` is the status of a step that did not return, else empty."""

    position: int
    indent: int
    kind: str
    label: str
    detail: str
    place: str
    verdict: str | None
    failed: str


def row(trace: Trace, position: int) -> Row:
    """Describe a step as a row of the tree."""
    kind = trace.column("kind")[position]
    kind_name = trace.column("type")[position] or ""
    status = trace.column("status")[position]
    if kind == schema.LINE:
        label, detail = statement(trace, position), ""
    elif kind == schema.MODULE:
        label, detail = relative_name(trace, position), kind_name
        label, detail = (label, detail) if label else (detail, "")
    else:
        label, detail = relative_name(trace, position) or kind_name, ""
        label = f"{label}()" if kind == schema.FUNCTION else label
    if edit := edits_of(trace, position):
        detail = f"{detail} {EDITED} {edit}".strip()
    return Row(
        position,
        indent(trace, position),
        visible(kind or ""),
        visible(label),
        visible(detail),
        place(trace, position),
        verdict(trace, position),
        "" if status == schema.RETURNED else visible(status or ""),
    )


def indent(trace: Trace, position: int) -> int:
    """The number of calls around a step."""
    parents, kinds = trace.parents, trace.column("kind")
    levels, at = 0, int(parents[position])
    while at >= 0 and levels < _DEEPEST:
        levels += kinds[at] in schema.CALLS
        at = int(parents[at])
    return levels


def relative_name(trace: Trace, position: int) -> str:
    """A call's path relative to the module around it: `attention.self` inside `encoder.layer.0`."""
    names, kinds = trace.column("name"), trace.column("kind")
    name = names[position] or ""
    above = trace.parent(position)
    while above is not None and kinds[above] != schema.MODULE:
        above = trace.parent(above)
    outer = "" if above is None else names[above] or ""
    return name[len(outer) + 1 :] if outer and name.startswith(f"{outer}.") else name


def path(trace: Trace, position: int) -> str:
    """A step's full module path, or its class if the path is empty."""
    return visible(trace.column("name")[position] or trace.column("type")[position] or "")


def class_of_module(trace: Trace, position: int) -> str:
    """The class of the module that a step calls; empty for other steps, and for a model whose `path` is its class."""
    called = trace.column("kind")[position] == schema.MODULE and trace.column("name")[position]
    return visible(trace.column("type")[position] or "") if called else ""


def statement(trace: Trace, position: int) -> str:
    """The source text of a line step, joined to one line; `file:line` if the trace has no copy of the file."""
    return _statement(trace, len(trace), trace.column("file")[position], *span(trace, position))


@lru_cache(maxsize=8192)
def _statement(trace: Trace, size: int, file: str | None, first: int, last: int) -> str:
    lines = trace.source(file)[max(first - 1, 0) : min(last, first + 20)] if first else []
    parts = (line.strip() for line in lines)
    joined = (
        " ".join(part for part in parts if part and not part.startswith("#"))
        .replace("( ", "(")
        .replace(" )", ")")
        .replace(",)", ")")
    )
    return visible(joined) if joined else f"{base_name(file)}:{first}"


def span(trace: Trace, position: int) -> tuple[int, int]:
    """First and last source line of a step; (0, 0) if unknown."""
    first = integer(trace, "line", position)
    return (first, max(first, integer(trace, "end_line", position))) if first > 0 else (0, 0)


def place(trace: Trace, position: int) -> str:
    """A step's source line as text: `modeling_bert.py:175`; empty if unknown."""
    first, _ = span(trace, position)
    file = trace.column("file")[position]
    return f"{base_name(file)}:{first}" if file and first else ""


def verdict(trace: Trace, position: int) -> str | None:
    """The verdict of a step, the first of `findings.VERDICTS` that a check of it has; None without."""
    found = findings.verdicts(trace)[position]
    return findings.VERDICTS[found] if found < findings.NONE else None
