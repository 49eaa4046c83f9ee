"""`tftrace note`: what a reader found, kept with the step it was found on."""

from __future__ import annotations

from pathlib import Path

from ..terminal import say, tell
from ..trace.trace import load


def note(trace: Path, step: int | None = None, text: str | None = None) -> None:
    """Keep a note on a step, or print the notes of a trace.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        The step, as 'tftrace show' numbers it; without one all notes are printed.
    text
        The note; without one the step's is printed. An empty text "" takes it away.
    """
    from .. import describe
    from ..errors import TraceError
    from ..trace.notes import read, write

    opened = load(trace)
    if text is not None and step is not None:
        write(opened, step, text)
        say(f"Noted on step {step}." if text.strip() else f"Step {step} has no note now.")
        return
    notes = read(opened)
    if step is not None and step not in notes:
        raise TraceError(f'There is no note on step {step}: tftrace note {trace} {step} "text" puts one there.')
    for at in notes if step is None else [step]:
        where = "  ".join(filter(None, (describe.path(opened, at), describe.place(opened, at))))
        tell(f"{at}  {where}", *(f"    {line}" for line in notes[at].splitlines()))
    if not notes:
        say(f'There are no notes: tftrace note {trace} STEP "text" puts one on a step.')
