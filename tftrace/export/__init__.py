"""Exports: one file a format; the format is picked by the extension of the path."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from ..errors import TraceError
from ..trace import Trace
from .table import write_csv

FORMATS: dict[str, Callable[[Trace, Path], None]] = {".csv": write_csv}


def export(trace: Trace, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the trace in the format that the path's extension names; an interrupted export leaves no half file."""
    target = Path(path).expanduser()
    write = FORMATS.get(target.suffix.lower())
    if write is None:
        raise TraceError(
            f"There is no export to '{target.suffix or target.name}': name a file in {', '.join(FORMATS)}."
        )
    if target.exists() and not overwrite:
        raise TraceError(f"{target} exists already: choose another file, or replace it with --force (overwrite=True).")
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        write(trace, part)
        os.replace(part, target)
    except OSError as error:
        raise TraceError(f"{target} cannot be written ({error.strerror}): choose another file.") from error
    finally:
        part.unlink(missing_ok=True)
