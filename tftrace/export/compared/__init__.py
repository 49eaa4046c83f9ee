"""A comparison of two runs as a file: an HTML page, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

from ...compare import Comparison
from ...errors import TraceError
from ...trace.trace import Trace
from ..jsonlines import dumps
from ..target import into_file
from . import comparison_page, comparison_table

Traces = tuple[Trace | None, Trace | None]
Names = tuple[str, str]


def export_comparison(found: Comparison, traces: Traces, names: Names, path: Path, *, overwrite: bool = False) -> None:
    """Write a comparison to a file, whose ending names the format. An interrupted export leaves the old file as it was.

    Args:
        found: The comparison.
        traces: The two runs; None for one that is no trace.
        names: The two runs as the user named them.
        path: The file: .html, .csv or .json.
        overwrite: Whether an existing file may be replaced.

    Raises:
        TraceError: There is no such format, the file exists, or it cannot be written.
    """
    writers: dict[str, Callable[[BinaryIO], None]] = {
        ".html": lambda stream: comparison_page.write(found, traces, names, stream),
        ".htm": lambda stream: comparison_page.write(found, traces, names, stream),
        ".csv": lambda stream: comparison_table.write(found, stream),
        ".json": lambda stream: _write_json(found, names, stream),
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise TraceError(
            f"There is no export of a comparison to '{path.suffix or path}': name a file in .html, .csv or .json."
        )
    into_file(path.expanduser(), writer, overwrite)


def _write_json(found: Comparison, names: Names, stream: BinaryIO) -> None:
    """Write what `--json` prints, and the names of the runs, every pair of tensors, and what healed."""
    tensors = [replace(pair, tokens=None, by_token=None) for pair in found.tensors]
    more = {"runs": list(names), "tensors": list(map(asdict, tensors)), "healed": list(map(asdict, found.healed))}
    stream.write(dumps(found.to_dict() | more, indent=1).encode() + b"\n")
