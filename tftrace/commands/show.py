"""`tftrace show`: a trace as text."""

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
        Everything about this one step.
    json
        As JSON.
    lang
        Notes on equations in English (en) or Chinese (zh).
    """
    from ..show import show as print_steps

    print_steps(load(trace), step, as_json=json, language=lang)
