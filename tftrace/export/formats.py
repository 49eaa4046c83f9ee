"""The export formats, and `export`, which leaves nothing behind when it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import TraceError
from ..terminal import data
from ..trace.trace import Trace
from .target import into_file, into_folder

Writer = Callable[..., Any]  # (trace, binary stream, **options); for a folder a path instead of the stream
STDOUT = "-"

_DIAGRAM = ("depth", "under", "forward")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: The name for `--format`.
        endings: The file name endings that select it.
        writer: The function that writes it, as `module:function` in this package; imported on first use.
        options: The options that it takes.
        folder: The function that writes it as a folder of files, or empty; standard output still gets one file.
        binary: Whether the format is not text.
        wrote: The function that tells whether an export wrote a folder and everything in it, as `module:function`.
    """

    name: str
    endings: tuple[str, ...]
    writer: str
    options: tuple[str, ...] = ()
    folder: str = ""
    binary: bool = False
    wrote: str = ""

    def write(self, trace: Trace, stream: BinaryIO, **options: Any) -> None:
        """Write the trace to a binary stream."""
        _function(self.writer)(trace, stream, **options)

    def write_folder(self, trace: Trace, path: Path, **options: Any) -> None:
        """Write the trace as files into an existing empty folder."""
        _function(self.folder)(trace, path, **options)


def _function(path: str) -> Writer:
    """Import the function at `module:function`."""
    module, name = path.split(":")
    found: Writer = getattr(import_module(f".{module}", __package__), name)
    return found


FORMATS = {
    form.name: form
    for form in (
        Format("csv", (".csv",), "table:write"),
        Format(
            "parquet", (".parquet",), "parquet:write", folder="parquet:write_folder", wrote="parquet:wrote", binary=True
        ),
        Format("jsonl", (".jsonl", ".ndjson"), "jsonlines:write"),
        Format("json", (".json",), "jsonlines:write_document"),
        Format("html", (".html", ".htm"), "html:write"),
        Format("perfetto", (".perfetto.json", ".trace.json"), "perfetto:write"),
        Format("mermaid", (".mmd", ".mermaid"), "diagram.mermaid:write", _DIAGRAM),
        Format("dot", (".dot", ".gv"), "diagram.dot:write", _DIAGRAM),
        Format("svg", (".svg",), "diagram.svg:write", _DIAGRAM),
    )
}


def export(
    trace: Trace, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None, **options: Any
) -> None:
    """Write the trace to a file, or for Parquet to a folder. An interrupted export leaves the old file as it was.

    Args:
        trace: The trace.
        path: The target; its extension selects the format. `-` is standard output and needs `format`.
        overwrite: Whether an existing target may be replaced.
        format: The name of a format in `FORMATS`.
        **options: For diagrams (mermaid, dot, svg): `depth`, `under` and `forward` of `tftrace.flow.graph`.

    Raises:
        TraceError: The format is unknown or does not take an option, the target exists, or it cannot be written.

    Example:
        >>> export(trace, "run.svg", under="encoder.layer.0", depth=2)
    """
    target = os.fspath(path)
    form = _format(target, format)
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in form.options:
            takers = ", ".join(one.name for one in FORMATS.values() if name in one.options)
            raise TraceError(f"--{name} is for {takers or 'no format'}, and not for {form.name}: leave it out.")
    if target == STDOUT:
        stream = data(form.binary)
        form.write(trace, stream, **options)
        stream.flush()
    elif form.folder:
        into_folder(
            Path(target).expanduser(),
            lambda part: form.write_folder(trace, part, **options),
            overwrite,
            _function(form.wrote),
        )
    else:
        into_file(Path(target).expanduser(), lambda stream: form.write(trace, stream, **options), overwrite)


def _format(path: str, name: str | None) -> Format:
    """The format of that name, else the one with the longest ending that fits the path."""
    known = ", ".join(f"{form.endings[0]}" for form in FORMATS.values())
    if name is not None:
        if name.lower() not in FORMATS:
            raise TraceError(f"There is no format {name!r}: choose one of {', '.join(FORMATS)}.")
        return FORMATS[name.lower()]
    if path == STDOUT:
        raise TraceError(f"To write to standard output, name a format with --format: {', '.join(FORMATS)}.")
    file = Path(path).name
    endings = {ending: form for form in FORMATS.values() for ending in form.endings}
    fitting = [ending for ending in endings if file.lower().endswith(ending)]
    if not fitting:
        raise TraceError(f"There is no export to '{Path(path).suffix or file}': name a file in {known}.")
    return endings[max(fitting, key=len)]
