"""`tftrace export`: a trace in another format."""

from __future__ import annotations

from pathlib import Path

from ..trace import load
from ._shared import Force, say


def export(trace: Path, file: Path, *, force: Force = False) -> None:
    """Write a trace in the format that the file's extension names.

    Parameters
    ----------
    trace
        Folder of the trace.
    file
        What to write, such as run.csv.
    force
        Replace an existing file.
    """
    from ..export import export as write

    write(load(trace), file, overwrite=force)
    say(f"Wrote {file}.")
