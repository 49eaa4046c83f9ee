"""`tftrace export`: a trace in another format."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..terminal import say
from ..trace.trace import load
from ._shared import Force

File = Annotated[str, Parameter(allow_leading_hyphen=True)]


def export(
    trace: Path,
    file: File,
    *,
    format: str | None = None,
    under: str | None = None,
    depth: int | None = None,
    forward: int | None = None,
    force: Force = False,
) -> None:
    """Write a trace as csv, parquet, jsonl, json, html, perfetto (a timeline), mermaid, dot or svg (diagrams).

    Parameters
    ----------
    trace
        Folder of the trace.
    file
        What to write; its ending names the format: run.csv, run.parquet (a folder), run.jsonl, run.json, run.html,
        run.perfetto.json, run.mmd, run.dot or run.svg. A single - is standard output; a terminal or a pipe is sent
        what would move a terminal as escapes.
    format
        The format, where the ending does not name it.
    under
        A diagram of this part only, such as encoder.layer.0.
    depth
        A diagram that opens so many calls inside one another; without it as many as make a picture of some boxes.
    forward
        A diagram of this forward pass, from 0; without it of the first.
    force
        Replace an existing file.
    """
    from ..export import export as write

    with _ended_as_interrupted():
        write(load(trace), file, overwrite=force, format=format, under=under, depth=depth, forward=forward)
    if file != "-":
        say(f"Wrote {file}.")


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """While something is written, being told to end is an interruption, so that no half file is left."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
