"""`tftrace view`: the debugger."""

from __future__ import annotations

from pathlib import Path

from ..trace import load
from ._shared import Lang, present, present_pair


def view(trace: Path, other: Path | None = None, *, lang: Lang = "en") -> None:
    """Step through a recorded trace in the terminal; or through two side by side, by what each step is for.

    Parameters
    ----------
    trace
        Folder of the trace.
    other
        A second trace, of the same model or another.
    lang
        Notes on equations in English (en) or Chinese (zh).
    """
    if other is None:
        present(load(trace), lang)
    else:
        present_pair(load(trace), load(other), lang)
