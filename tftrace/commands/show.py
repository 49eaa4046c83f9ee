"""`tftrace show`: a trace as text."""

from __future__ import annotations

from pathlib import Path

from ..trace import load
from ._shared import Switch


def show(trace: Path, *, step: int | None = None, json: Switch = False) -> None:
    """Print the steps of a trace: tree, line, equation, verdict, tensors.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Everything about this one step.
    json
        As JSON.
    """
    from ..show import show as print_steps

    print_steps(load(trace), step, as_json=json)
