"""`tftrace show` prints a trace as text."""

from __future__ import annotations

from pathlib import Path

from ..trace.trace import load
from ._shared import Lang, Switch


def show(trace: Path, *, step: int | None = None, json: Switch = False, lang: Lang = "en") -> None:
    """Print the steps of a trace: tree, line, equation, verdict, tensors.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Print everything about this one step.
    json
        Print JSON.
    lang
        Language of the notes on equations: English (en) or Chinese (zh).
    """
    from ..show import show as print_steps

    print_steps(load(trace), step, as_json=json, language=lang)
