"""`tftrace note` keeps a reader's notes with the steps of a trace."""

from __future__ import annotations

from pathlib import Path

from ..language import tr
from ..terminal import say, tell
from ..trace.trace import load


def note(trace: Path, step: int | None = None, text: str | None = None) -> None:
    """Write a note on a step, or print the notes of a trace.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Number of the step, as 'tftrace show' prints it; without one, all notes are printed.
    text
        The note; without one, the note on the step is printed. An empty text "" removes it.
    """
    from .. import describe
    from ..errors import TraceError
    from ..trace.notes import read, write

    opened = load(trace)
    if text is not None and step is not None:
        write(opened, step, text)
        say(tr("Noted on step {step}." if text.strip() else "Removed the note on step {step}.", step=step))
        return
    notes = read(opened)
    if step is not None and step not in notes:
        raise TraceError(f'There is no note on step {step}: tftrace note {trace} {step} "text" puts one there.')
    for at in notes if step is None else [step]:
        where = "  ".join(filter(None, (describe.path(opened, at), describe.place(opened, at))))
        tell(f"{at}  {where}", *(f"    {line}" for line in notes[at].splitlines()))
    if not notes:
        say(tr('There are no notes: tftrace note {trace} STEP "text" puts one on a step.', trace=trace))
