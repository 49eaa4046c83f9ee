"""Tells whether a folder is a trace and holds nothing else: only such a folder is ever replaced or deleted.

Files that somebody put there, even under names that look like ours, are not ours to delete."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import TraceError
from .safe_files import read_bytes

META = "meta.json"
_META_LIMIT = 64 << 20  # bytes
_RANK = re.compile(r"rank-\d{5,9}", re.ASCII)
_FOLDERS = re.compile(rf"{_RANK.pattern}|values|sources", re.ASCII)
_FILES = re.compile(
    r"(meta|notes)\.json|values/\d{5}-\d{5}\.safetensors|"
    rf"{_RANK.pattern}/(meta\.json|(steps|tensors|checks|numbers|prints|seen|answers)\.arrow)",
    re.ASCII,
)
_HALF = re.compile(r"(?:(?<=/)|^)\.([^/]+)-[0-9a-f]{32}(?=/|$)")  # half-written or half-replaced, left by a kill
_SOURCE = re.compile(r"sources/([^/]+)")


def check_whole(folder: Path, shown: Path | None = None) -> None:
    """Raise TraceError if a folder is neither empty nor a trace and nothing else; messages call it `shown`."""
    shown = shown or folder
    if _is_plain(folder) and not any(folder.iterdir()):
        return
    if not _is_plain(folder) or not _is_trace(folder):
        raise TraceError(f"{shown} is not a trace, so it is not overwritten: choose another path.")
    check_nothing_else(folder, shown)


def check_nothing_else(folder: Path, shown: Path, inside: str = "") -> None:
    """Raise TraceError if a folder holds anything that is no part of a trace.

    Args:
        folder: The folder.
        shown: The path by which messages call it.
        inside: The name that the folder has within a trace; empty for the trace itself.
    """
    found = _foreign(folder, inside) if _is_plain(folder) else "a link"
    if found is not None:
        said = f"{shown} holds {found}, which is no part of a trace, so it is not overwritten"
        raise TraceError(f"{said}: move that elsewhere, or choose another path.")


def _is_plain(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()


def _is_trace(folder: Path) -> bool:
    version = _described(folder).get("schema")
    return type(version) is int and any(_RANK.fullmatch(path.name) for path in folder.iterdir())


def _foreign(folder: Path, inside: str) -> str | None:
    """The first entry, at any depth, that is no part of a trace."""
    sources: dict[str, str] = {}
    for path, mode in _entries(folder):
        whole = _HALF.sub(r"\1", f"{inside}/{path}" if inside else path)
        source = _SOURCE.fullmatch(whole)
        known = _FOLDERS if stat.S_ISDIR(mode) else _FILES if stat.S_ISREG(mode) else None
        if stat.S_ISREG(mode) and source is not None:
            sources[path] = source[1]
        elif known is None or not known.fullmatch(whole):
            return path
    if not sources:
        return None
    named = _named_sources(folder)  # after the walk: a recording names a source before it copies it
    return next((path for path, name in sources.items() if name not in named), None)


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    """The path within the folder, and the mode, of everything in it; links are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for above, folders, files in os.walk(folder, onerror=fail):
        for name in sorted((*folders, *files)):
            path = Path(above, name)
            yield path.relative_to(folder).as_posix(), os.lstat(path).st_mode


def _named_sources(folder: Path) -> set[str]:
    """The names of the source copies that the trace lists."""
    ranks = [path.name for path in folder.iterdir() if _RANK.fullmatch(path.name)]
    parts = [_described(folder), *(_described(folder, name) for name in ranks)]
    found = [part.get("sources") for part in parts]
    return {name for said in found if isinstance(said, dict) for name in said.values() if isinstance(name, str)}


def _described(folder: Path, *inside: str) -> dict[str, Any]:
    """The content of a meta.json; empty if it cannot be read."""
    try:
        found = json.loads(read_bytes(folder, *inside, META, limit=_META_LIMIT))
    except (OSError, ValueError, RecursionError, TraceError):
        return {}
    return found if isinstance(found, dict) else {}
