"""`tftrace merge` combines the traces of a distributed run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..language import tr
from ..terminal import say
from ._shared import Force


def merge(*traces: Path, output: Annotated[Path, Parameter(name=["--output", "-o"])], force: Force = False) -> None:
    """Merge the traces of a distributed run whose processes recorded into separate folders.

    Parameters
    ----------
    traces
        Folders of the traces; they are not changed.
    output
        Folder of the new trace.
    force
        Replace an existing trace.
    """
    from ..maintain.merge import merge as put_together

    merged = put_together(traces, output, overwrite=force)
    say(
        tr(
            "Wrote {output} with {count} steps of ranks {ranks}.",
            output=output,
            count=len(merged),
            ranks=", ".join(map(str, merged.ranks)),
        )
    )
