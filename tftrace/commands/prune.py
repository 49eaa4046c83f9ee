"""`tftrace prune`: a smaller trace."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import TraceError
from ..terminal import say
from ._shared import Patterns

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def prune(trace: Path, *, keep_values: Patterns = None, budget: str | None = None) -> None:
    """Take tensors that were kept whole out of a trace; all else stays.

    It may be interrupted at any point: what is there is a whole trace, and a second run ends what the first began.

    Parameters
    ----------
    trace
        Folder of the trace.
    keep_values
        What stays: none, auto (all but parameters), all, or a pattern of the steps' names, which may be repeated.
    budget
        Of these only the first that fit, such as 100MB.
    """
    from ..maintain.prune import prune as take_out

    words = [word for word in keep_values or [] if word in ("none", "auto", "all")]
    if words and len(keep_values or []) > 1:
        raise TraceError(f"--keep-values {words[0]} stands alone: leave it out to name patterns.")
    if not keep_values and budget is None:
        raise TraceError("Nothing says what stays: name it with --keep-values none, or a pattern, or --budget 100MB.")
    size = None if budget is None else _bytes(budget)
    count, smaller = take_out(trace, words[0] if words else keep_values or "all", size)
    say(f"Took {count} tensors out of {trace}, which is {smaller / 1e6:.3g} MB smaller.")


def _bytes(said: str) -> int:
    """The number in `100MB`."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)\s*([kmg]i?|)b?", said.strip().lower(), re.ASCII)
    if found is None:
        raise TraceError(f"{said!r} is no size: write it as 100MB, 2GB or a number of bytes.")
    return int(float(found[1]) * _UNITS[found[2]])
