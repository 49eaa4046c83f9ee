"""A source line in the reader's own editor: the live file where it is what ran, else a copy of the trace's own."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path

from ..errors import TraceError
from ..trace.trace import Trace

_PLUS = ("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient", "micro", "kak", "joe", "ne", "mg", "ed")
_GOTO = ("code", "code-insiders", "codium", "cursor", "windsurf")
_COLON = ("subl", "hx", "helix", "zed", "atom")
_USUAL = ("nano", "vim", "vi", "notepad")
_LIMIT = 64 << 20  # bytes; a source file is smaller


def command(editor: str, file: Path, line: int) -> list[str]:
    """The words that open a file at a line, as this editor wants them; one that is not known gets the file."""
    words = shlex.split(editor)
    name = Path(words[0]).name.lower().removesuffix(".exe") if words else ""
    if name in _PLUS:
        return [*words, f"+{line}", str(file)]
    if name in _GOTO:
        return [*words, "--goto", f"{file}:{line}"]
    return [*words, f"{file}:{line}" if name in _COLON else str(file)]


def editor() -> str:
    """What the reader uses, or what there is. Raises TraceError if there is none."""
    found = os.environ.get("VISUAL") or os.environ.get("EDITOR") or next(filter(shutil.which, _USUAL), "")
    try:
        known = bool(shlex.split(found)) and shutil.which(shlex.split(found)[0]) is not None
    except ValueError:
        known = False
    if not known:
        raise TraceError(f"No editor is found{f' as {found!r}' if found else ''}: set EDITOR, such as EDITOR=vim.")
    return found


def readable(trace: Trace, file: str) -> tuple[Path, bool]:
    """The file to open, and whether it is the live one: that which ran, if it has not changed since, else a copy of the
    trace's text that nobody minds being changed. Raises TraceError if the trace has no text of it."""
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
