"""The formats of an export, and writing one so that an interrupted export leaves nothing behind."""

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

Writer = Callable[..., Any]  # (trace, binary stream, **options); a folder's takes a path in place of the stream
STDOUT = "-"

_DIAGRAM = ("depth", "under", "forward")


@dataclass(frozen=True)
class Format:
    """One format: the endings of its files, and the function here that writes it, imported when it is needed."""

    name: str
    endings: tuple[str, ...]
    writer: str  # module:function
    options: tuple[str, ...] = ()
    folder: str = ""  # the function that writes it as a folder of files; into a pipe it is one file
    binary: bool = False
    wrote: str = ""  # the function that says whether it wrote a folder, and all that is in it

    def write(self, trace: Trace, stream: BinaryIO, **options: Any) -> None:
        """Write the trace to a binary stream."""
        _function(self.writer)(trace, stream, **options)

    def write_folder(self, trace: Trace, path: Path, **options: Any) -> None:
        """Write the trace as the files of a new folder."""
        _function(self.folder)(trace, path, **options)


def _function(place: str) -> Writer:
    module, name = place.split(":")
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
    """Write the trace in the format that the path's extension names, or in `format`; `-` is standard output.

    Diagrams (mermaid, dot, svg) take `depth`, `under` and `forward`, as `tftrace.flow.graph` does. Raises TraceError
    for a format that there is not, a file that exists (unless `overwrite`) or cannot be written. What was there before
    an interrupted export is there after it, and no half file."""
    said = os.fspath(path)
    form = _format(said, format)
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in form.options:
            takers = ", ".join(one.name for one in FORMATS.values() if name in one.options)
            raise TraceError(f"--{name} is for {takers or 'no format'}, and not for {form.name}: leave it out.")
    if said == STDOUT:
        stream = data(form.binary)
        form.write(trace, stream, **options)
        stream.flush()
    elif form.folder:
        target, wrote = Path(said).expanduser(), _function(form.wrote)
        into_folder(target, lambda part: form.write_folder(trace, part, **options), overwrite, wrote)
    else:
        into_file(Path(said).expanduser(), lambda stream: form.write(trace, stream, **options), overwrite)


def _format(path: str, name: str | None) -> Format:
    """The format that is named, or that the longest known ending of the path stands for."""
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
