"""`tftrace prune` makes a trace smaller."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import TraceError
from ..language import tr
from ..terminal import say
from ._shared import Patterns

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def prune(trace: Path, *, keep_values: Patterns = None, budget: str | None = None, prints: bool | None = None) -> None:
    """Remove kept tensors from a trace to make it smaller; statistics, verdicts and everything else stay.

    If it is interrupted, the trace stays valid, and running it again completes the work.

    Parameters
    ----------
    trace
        Folder of the trace.
    keep_values
        Kept tensors to leave in: none, auto (all but parameters), all, or a pattern of step names. May be repeated.
    budget
        Leave in only as many of these, in order, as fit into this size, such as 100MB.
    prints
        Whether token prints stay, by which traces compare that keep no tensors; by default they go together with the
        last kept tensor (--keep-values none).
    """
    from ..maintain.prune import prune as take_out

    words = [word for word in keep_values or [] if word in ("none", "auto", "all")]
    if words and len(keep_values or []) > 1:
        raise TraceError(f"--keep-values {words[0]} cannot be combined: leave it out to name patterns.")
    if not keep_values and budget is None and prints is None:
        said = "--keep-values none, --keep-values PATTERN, --budget 100MB or --no-prints"
        raise TraceError(f"Say what to keep, with {said}.")
    size = None if budget is None else _bytes(budget)
    stay = words != ["none"] if prints is None else prints
    count, smaller = take_out(trace, words[0] if words else keep_values or "all", size, stay)
    say(
        tr(
            "Removed {count} tensors from {trace}, which is now {smaller:.3g} MB smaller.",
            count=count,
            trace=trace,
            smaller=smaller / 1000000.0,
        )
    )


def _bytes(said: str) -> int:
    """Parse a size such as `100MB` into bytes."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)\s*([kmg]i?|)b?", said.strip().lower(), re.ASCII)
    if found is None:
        raise TraceError(f"{said!r} is not a size: write 100MB, 2GB or a number of bytes.")
    return int(float(found[1]) * _UNITS[found[2]])
