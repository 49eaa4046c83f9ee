"""Opens a source line in the user's editor: the file itself if unchanged since the run, else the trace's copy."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from ..errors import TraceError
from ..trace.trace import Trace

# Editors by how they take a line: `+LINE FILE`, `--goto FILE:LINE`, `FILE:LINE`.
_PLUS = ("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient", "micro", "kak", "joe", "ne", "mg", "ed")
_GOTO = ("code", "code-insiders", "codium", "cursor", "windsurf")
_COLON = ("subl", "hx", "helix", "zed", "atom")
_FALLBACKS = ("nano", "vim", "vi", "notepad")
_LIMIT = 64 << 20  # bytes; larger files are not read


def command(editor: str, file: Path, line: int) -> list[str]:
    """The command line that opens a file at a line; an unknown editor gets only the file."""
    words = shlex.split(editor)
    name = Path(words[0]).name.lower().removesuffix(".exe") if words else ""
    if name in _PLUS:
        return [*words, f"+{line}", str(file)]
    if name in _GOTO:
        return [*words, "--goto", f"{file}:{line}"]
    return [*words, f"{file}:{line}" if name in _COLON else str(file)]


def editor() -> str:
    """The user's editor (`VISUAL`, `EDITOR`), or a common one that is installed.

    Raises:
        TraceError: No editor is found.
    """
    found = os.environ.get("VISUAL") or os.environ.get("EDITOR") or next(filter(shutil.which, _FALLBACKS), "")
    try:
        known = bool(shlex.split(found)) and shutil.which(shlex.split(found)[0]) is not None
    except ValueError:
        known = False
    if not known:
        raise TraceError(f"No editor was found{f' as {found!r}' if found else ''}: set EDITOR, such as EDITOR=vim.")
    return found


def file_to_open(trace: Trace, file: str) -> tuple[Path, bool]:
    """Find the file to open for a source file of the trace.

    Returns:
        The file itself and True if it has not changed since the run; else a temporary copy of the recorded text and
        False.

    Raises:
        TraceError: The trace has no copy of the file.
    """
    lines = trace.source(file)
    if not lines:
        raise TraceError("The trace has no copy of this file: record it again.")
    live = Path(file)
    try:
        if live.is_file() and live.stat().st_size <= _LIMIT:
            text = live.read_text(encoding="utf-8", errors="replace")
            if text.splitlines() == lines:
                return live, True
    except (OSError, ValueError):
        pass
    folder = Path(tempfile.mkdtemp(prefix="tftrace-"))
    copy = folder / (Path(file.replace("\\", "/")).name or "source.py")
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return copy, False
