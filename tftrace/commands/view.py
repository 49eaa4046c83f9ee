"""`tftrace view`: the debugger."""

from __future__ import annotations

from pathlib import Path

from ..trace import load
from ._shared import present


def view(trace: Path) -> None:
    """Step through a recorded trace in the terminal.

    Parameters
    ----------
    trace
        Folder of the trace.
    """
    present(load(trace))
