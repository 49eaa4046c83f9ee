"""`tftrace info` summarizes the content of a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..terminal import document, tell
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
    tell(*(f"{name:<10}{said}" for name, said in [*_lines(found), *(("made", one) for one in nan_lines(opened))]))


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows, kept = found["rows"], found["values"]
    about = (found.get(key) for key in ("model", "dtype", "device", "level", "started"))
    ranks = found["ranks"]
    lines = [
        ("trace", f"{found['path']}  ({_size(found['bytes']['total'])}, schema {found['schema']})"),
        ("model", " · ".join(part for part in about if isinstance(part, str))),
        ("versions", _listed(found.get("versions"))),
        ("forwards", f"{found['forwards']}" + (f" in {len(ranks)} processes" if len(ranks) > 1 else "")),
        ("steps", _count_and_parts(rows["steps"], found["steps"])),
        ("ended", _listed(found["status"])),
        ("tensors", _count_and_parts(rows["tensors"], found["roles"])),
        ("kept", f"{kept['tensors']} tensors whole" + (f", {kept['lost']} more are lost" if kept["lost"] else "")),
        ("checks", _count_and_parts(rows["checks"], found["verdicts"])),
        ("beside", _listed({name: found[name] for name in ("equations", "sources", "notes")})),
        ("sizes", _listed({name: _size(size) for name, size in found["bytes"].items() if name != "total"})),
    ]
    lines += [("missing", sentence) for sentence in found["missing"]]
    return [(name, said) for name, said in lines if said]


def _count_and_parts(count: int, parts: dict[str, int]) -> str:
    """A count and its parts: `202: line 149, module 53`."""
    return f"{count}: {_listed(parts)}" if parts else str(count)


def _listed(counts: object) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) if isinstance(counts, dict) else ""


def _size(size: float) -> str:
    """A number of bytes in a readable unit: `39.9 MB`."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.3g} {unit}"
