"""Reads files inside a trace, which may be a stranger's: never outside of its folder, and never without a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...errors import TraceError


def regular(folder: Path, *parts: str) -> Path:
    """Return the path of a plain file inside a folder.

    Args:
        folder: The folder.
        parts: The folders on the way to the file, and its name.

    Raises:
        TraceError: The file, or a folder on the way to it, is a link or something else.
        FileNotFoundError: It does not exist.
    """
    path = folder
    for at, part in enumerate(parts, 1):
        path = path / part
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise TraceError(f"{path} is a link, which a trace may not hold: copy the file itself.")
        if not (stat.S_ISREG if at == len(parts) else stat.S_ISDIR)(mode):  # opening a pipe would wait for ever
            raise TraceError(f"{path} is not a plain file, so it is no part of a trace: record the trace again.")
    return path


def read_bytes(folder: Path, *parts: str, limit: int) -> bytes:
    """Read a plain file inside a folder; see `regular`.

    Raises:
        TraceError: It is no plain file, or it is larger than `limit` bytes.
        FileNotFoundError: It does not exist.
    """
    path = regular(folder, *parts)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise TraceError(f"{path} is too large to be part of a trace ({size} bytes): record the trace again.")
        return file.read(size) or b""
