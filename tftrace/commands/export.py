"""`tftrace export` writes a trace in another format."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..language import tr
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
        File to write. Its extension names the format: run.csv, run.parquet (a folder), run.jsonl, run.json, run.html,
        run.perfetto.json, run.mmd, run.dot or run.svg. A single - is standard output; for a terminal
        or a pipe, control characters are escaped.
    format
        The format, if the extension does not name it.
    under
        In a diagram, draw only this part, such as encoder.layer.0.
    depth
        In a diagram, open this many levels of nested calls; by default as many as give a readable picture.
    forward
        In a diagram, draw this forward pass, numbered from 0; by default the first.
    force
        Replace an existing file.
    """
    from ..export import export as write

    with _ended_as_interrupted():
        write(load(trace), file, overwrite=force, format=format, under=under, depth=depth, forward=forward)
    if file != "-":
        say(tr("Wrote {file}.", file=file))


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Treat signals that end the process as an interruption, so that no half-written file is left."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
