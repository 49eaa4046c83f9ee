"""JSON: one object per step with its source line, tensors and checks, as JSON Lines or as one document."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

from .. import describe
from ..navigate.difference_kinds import kind_of
from ..navigate.edited_steps import edited_steps
from ..trace import notes, schema
from ..trace.trace import Trace

_AT_ONCE = 4096  # steps read at once


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write JSON Lines: one step per line."""
    for step in objects(trace):
        stream.write(dumps(step).encode() + b"\n")


def document(trace: Trace, limit: int | None = None) -> Iterator[str]:
    """The document `{"meta": …, "steps": […]}` in pieces: the contents of meta.json and the first `limit` steps."""
    yield '{"meta": ' + dumps(trace.meta) + ',\n"steps": ['
    for at, step in enumerate(objects(trace, 0, limit)):
        yield (",\n" if at else "\n") + dumps(step)
    yield "\n]}\n"


def write_document(trace: Trace, stream: BinaryIO) -> None:
    """Write one JSON document."""
    stream.writelines(part.encode() for part in document(trace))


def objects(trace: Trace, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield steps `start` to `stop` (exclusive) as plain data.

    Each is a row of the steps table with `source`, `tensors` and `checks`, `note` if the step has one, and `edited` if
    its result was changed on purpose. A check
    has `covers` if it checks less than its equation shows, and `kind` (design or mistake) if it differs. A forward that
    took in tokens has `answers`: for each text what it took in, and the likeliest next tokens.
    """
    stop = len(trace) if stop is None else min(stop, len(trace))
    noted, edits = notes.read(trace), edited_steps(trace)
    for first in range(start, stop, _AT_ONCE):
        last = min(first + _AT_ONCE, stop)
        rows = trace.part("steps", first, last).to_pylist()
        tensors, checks = (_by_step(trace, table, first, last) for table in ("tensors", "checks"))
        for at, (row, seen, judged) in enumerate(zip(rows, tensors, checks, strict=True), first):
            row |= {"source": _source(trace, row), "tensors": seen, "checks": [_explained(trace, c) for c in judged]}
            if row["parent"] is None and (said := describe.forward_answers(trace, at)):
                row["answers"] = [describe.answer_as_data(one) for one in said]
            if at in edits:
                row["edited"] = edits[at]
            if at in noted:
                row["note"] = noted[at]
            yield row


def _explained(trace: Trace, check: dict[str, Any]) -> dict[str, Any]:
    if isinstance(covers := (trace.equation(check["equation"]) or {}).get("covers"), str):
        check = check | {"covers": covers}
    if check["verdict"] == schema.DIFFERS:
        check = check | {"kind": kind_of(trace, check["equation"], check["variant"])}
    return check


def _by_step(trace: Trace, table: str, first: int, last: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table for each of the steps `first` to `last` (exclusive)."""
    bounds = trace.bounds(table)[first : last + 1]
    rows = trace.part(table, bounds[0], bounds[-1]).to_pylist()
    ends = (bounds - bounds[0]).tolist()
    return (rows[begin:end] for begin, end in pairwise(ends))


def _source(trace: Trace, row: dict[str, Any]) -> str:
    """The source text of a step's statement, empty if it is not known."""
    first, last = row["line"] or 0, max(row["line"] or 0, row["end_line"] or 0)
    return "\n".join(trace.source(row["file"])[first - 1 : last]) if first > 0 else ""


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON text in printable ASCII, so that a stranger's text cannot control a terminal; NaN and Inf become null."""
    try:
        said = json.dumps(value, allow_nan=False, indent=indent)
    except ValueError:
        said = json.dumps(_finite(value), allow_nan=False, indent=indent)
    return said.replace("\x7f", r"\u007f")


def _finite(value: Any) -> Any:
    """The value with None for each NaN and Inf."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
