"""The two runs of a comparison, by their paths."""

from __future__ import annotations

import re
from pathlib import Path

from ..compare import DumpSide, Side, TraceSide, is_dump, read_dump
from ..trace.missing import must_have_steps
from ..trace.trace import load

_FORWARD = re.compile(r"(.+)@(\d{1,9})", re.ASCII | re.DOTALL)


def side_of(said: Path) -> Side:
    """The run that is meant by a path, or by a path and the number of a forward pass: run.tftrace@2.

    Raises:
        TraceError: There is none.
    """
    if is_dump(said):
        return DumpSide(read_dump(said))
    path, number = split_forward(said)
    trace = load(path)
    must_have_steps(trace)
    return TraceSide(trace, number)


def split_forward(said: Path) -> tuple[Path, int | None]:
    """A path, and the number of a forward pass if it names one."""
    number = None if said.exists() else _FORWARD.fullmatch(str(said))
    return (Path(number[1]), int(number[2])) if number else (said, None)
