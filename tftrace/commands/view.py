"""`tftrace view`: the debugger."""

from __future__ import annotations

from pathlib import Path

from ..trace import load
from ._shared import Lang, present


def view(trace: Path, *, lang: Lang = "en") -> None:
    """Step through a recorded trace in the terminal.

    Parameters
    ----------
    trace
        Folder of the trace.
    lang
        Notes on equations in English (en) or Chinese (zh).
    """
    present(load(trace), lang)
