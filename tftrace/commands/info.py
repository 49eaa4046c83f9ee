"""`tftrace info` summarizes the content of a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..language import later, tr
from ..language.retell import retold
from ..terminal import document, padded, tell
from ..trace.trace import load
from ._shared import Switch

_UNITS = ("B", "kB", "MB", "GB", "TB")


def info(trace: Path, *, json: Switch = False) -> None:
    """Summarize a trace: its content, the size of its parts, and what is missing.

    Parameters
    ----------
    trace
        Folder of the trace.
    json
        Print JSON, with sizes in bytes.
    """
    from ..describe import nan_lines
    from ..export.jsonlines import dumps
    from ..maintain.info import info as describe

    opened = load(trace)
    found = describe(opened)
    if json:
        return document([dumps(found, indent=1), "\n"])
    tell(
        *(
            f"{padded(tr(name), 10)}{retold(said)}"
            for name, said in [*_lines(found), *((later("made"), one) for one in nan_lines(opened))]
        )
    )


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows, kept = found["rows"], found["values"]
    about = (found.get(key) for key in ("model", "dtype", "device", "level", "started"))
    ranks = found["ranks"]
    lines = [
        (later("trace"), f"{found['path']}  ({_size(found['bytes']['total'])}, schema {found['schema']})"),
        (later("model"), " · ".join(part for part in about if isinstance(part, str))),
        (later("versions"), _listed(found.get("versions"))),
        (later("forwards"), f"{found['forwards']}" + (tr(" in {n} processes", n=len(ranks)) if len(ranks) > 1 else "")),
        (later("steps"), _count_and_parts(rows["steps"], found["steps"])),
        (later("ended"), _listed(found["status"])),
        (later("tensors"), _count_and_parts(rows["tensors"], found["roles"])),
        (
            later("kept"),
            tr("{n} tensors whole", n=kept["tensors"])
            + (tr(", {n} more are lost", n=kept["lost"]) if kept["lost"] else ""),
        ),
        (later("checks"), _count_and_parts(rows["checks"], found["verdicts"])),
        (later("beside"), _listed({name: found[name] for name in ("equations", "sources", "notes")})),
        (later("sizes"), _listed({name: _size(size) for name, size in found["bytes"].items() if name != "total"})),
    ]
    lines += [(later("missing"), sentence) for sentence in found["missing"]]
    return [(name, said) for name, said in lines if said]


def _count_and_parts(count: int, parts: dict[str, int]) -> str:
    """A count and its parts: `202: line 149, module 53`."""
    return f"{count}: {_listed(parts)}" if parts else str(count)


def _listed(counts: object) -> str:
    return ", ".join(f"{retold(name)} {count}" for name, count in counts.items()) if isinstance(counts, dict) else ""


def _size(size: float) -> str:
    """A number of bytes in a readable unit: `39.9 MB`."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.3g} {unit}"
