"""Begins a recording: makes its folder, the files in it and the trace that reads them, or none of these."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from ..errors import TraceError
from ..trace.disk.folder import new_folder
from ..trace.trace import Trace
from ..trace.writer import TraceWriter, first_meta

Opened = TypeVar("Opened", bound=Trace)


def begin(
    path: str | os.PathLike[str] | None,
    overwrite: bool,
    meta: dict[str, Any],
    rank: int,
    launch: str | None,
    open: Callable[..., Opened],
) -> tuple[TraceWriter, Opened]:
    """Make the trace of a rank.

    Args:
        path: The folder of the trace; None for a temporary one, which lives as long as the trace that is returned.
        overwrite: Whether an existing trace may be replaced.
        meta: What to write into meta.json.
        rank: The number of this process.
        launch: The launch that it belongs to; None if it is alone.
        open: Opens the folder as a trace.

    Returns:
        The writer of the trace, and the trace.

    Raises:
        TraceError: The trace cannot be made. Everything is then as it was before, and no file is open.
    """
    with ExitStack() as undo:
        holder = None
        if path is None:
            holder, launch = _temporary(), None
            undo.push(lambda kind, *_: holder.cleanup() if kind else None)
            path = holder.name
        described = first_meta(meta) if launch is None else b""
        folder = undo.enter_context(new_folder(path, overwrite, rank=rank, launch=launch, described=described))
        writer = TraceWriter(folder, meta, rank, shared=launch is not None, described=described)
        undo.push(lambda kind, *_: writer.abandon() if kind else None)
        return writer, open(folder, keep=holder)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="tftrace-", suffix=".tftrace")
    except OSError as error:  # on a full disk as well, Python says that it found no usable folder
        said = error.strerror or error
        raise TraceError(f"There is no room for temporary files ({said}): make some, or pass path=.") from error
