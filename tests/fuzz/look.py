"""Everything that reads a trace, asked of one that may be damaged: only TraceError may come of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tftrace import Trace, describe, load
from tftrace.errors import TraceError
from tftrace.maintain.info import info
from tftrace.navigate import stepping
from tftrace.show import show
from tftrace.trace import notes


def _steps(trace: Trace) -> None:
    for step in trace:
        _ = step.tensors, step.checks, step.parent, step.children, step.call, trace.source(step.file)
        _ = trace.equation(step.equation)


def _values(trace: Trace) -> None:
    for step in trace:
        for row in step.tensors:
            if row.value is not None:
                with suppress(TraceError):
                    trace.value(step.position, row.name, row.role)


def _said(trace: Trace) -> None:
    _ = trace.missing, describe.about(trace), repr(trace)
    notes.read(trace)
    for at in range(len(trace)):
        describe.row(trace, at), describe.code(trace, at), describe.tensors(trace, at)


def _shown(trace: Trace) -> None:
    show(trace, out=(out := io.StringIO()))
    assert "\x1b" not in out.getvalue()


def _shown_as_json(trace: Trace) -> None:
    show(trace, as_json=True, out=(out := io.StringIO()))
    assert out.getvalue().isascii()


def _stepped(trace: Trace) -> None:
    stepping.stops(trace)
    stepping.search(trace, "a")


def _tables(trace: Trace) -> None:
    for table in ("steps", "tensors", "checks"):
        assert len(getattr(trace, table)) == len(trace.to_pandas(table))


def _informed(trace: Trace) -> None:
    assert info(trace)["rows"]["steps"] == len(trace)


LOOKS: list[Callable[[Trace], None]] = [_steps, _values, _stepped, _tables, _informed]
SLOW: list[Callable[[Trace], None]] = [_said, _shown, _shown_as_json]  # of which an input is asked one
ALL = len(LOOKS) + 1  # answers of a trace that is read in full


def look(folder: Path, slow: int = 0) -> int:
    """Open a trace and ask all of it, and one of `SLOW`; the number of answers. A TraceError ends one question, not
    all."""
    answered = 0
    with suppress(TraceError):
        trace = load(folder)
        for ask in (*LOOKS, SLOW[slow]):
            with suppress(TraceError):
                ask(trace)
                answered += 1
    return answered
