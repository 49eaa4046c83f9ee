"""The effects of a sweep as a file: an HTML page with a map, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ...errors import TraceError
from ...trace.trace import Trace
from ...what_if import Effects
from ..jsonlines import dumps
from ..table import csv_text
from ..target import into_file
from .effects_page import write_page


def export_effects(found: Effects, trace: Trace, path: Path, *, overwrite: bool = False) -> None:
    """Write the effects of a sweep to a file, whose ending names the format.

    Args:
        found: The effects.
        trace: The run that was swept.
        path: The file: .html, .csv or .json.
        overwrite: Whether an existing file may be replaced.

    Raises:
        TraceError: There is no such format, the file exists, or it cannot be written.
    """
    writers: dict[str, Callable[[BinaryIO], None]] = {
        ".html": lambda stream: write_page(found, trace, stream),
        ".htm": lambda stream: write_page(found, trace, stream),
        ".csv": lambda stream: _write_csv(found, stream),
        ".json": lambda stream: _write_json(found, stream),
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise TraceError(f"A sweep cannot be written to {path}: name a file in .html, .csv or .json.")
    into_file(path.expanduser(), writer, overwrite)


COLUMNS = ("name", "label", "row", "column", "token", "effect", "flips", "said")


def _write_csv(found: Effects, stream: BinaryIO) -> None:
    """One row for each part, and then for each two."""
    stream.write((",".join(COLUMNS) + "\n").encode())
    for one in (*found.effects, *found.pairs.values()):
        column = "" if one.column is None else str(one.column)
        told = (csv_text(one.name), csv_text(one.label), csv_text(one.row), column, csv_text(one.token))
        cells = (*told, repr(one.effect), str(one.flips).lower(), csv_text(one.said))
        stream.write((",".join(cells) + "\n").encode())


def _write_json(found: Effects, stream: BinaryIO) -> None:
    stream.write(dumps(found.to_dict(), indent=1).encode() + b"\n")
