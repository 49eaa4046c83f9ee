"""`tftrace show` prints a trace as text."""

from __future__ import annotations

from pathlib import Path

from ..language import spoken
from ..trace.trace import load
from ._shared import Switch


def show(trace: Path, *, step: int | None = None, json: Switch = False) -> None:
    """Print the steps of a trace: tree, line, equation, verdict, tensors.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Print everything about this one step.
    json
        Print JSON.
    """
    from ..show import show as print_steps

    print_steps(load(trace), step, as_json=json, language=spoken())
