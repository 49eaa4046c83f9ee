"""Opens a source line in the user's editor: the file itself if unchanged since the run, else the trace's copy.

The file of an installed library is opened so that it cannot be changed by mistake."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sysconfig
import tempfile
from pathlib import Path

from ..errors import TraceError
from ..trace.trace import Trace

# Editors by how they take a line: `+LINE FILE`, `--goto FILE:LINE`, `FILE:LINE`.
_PLUS = ("vi", "vim", "nvim", "view", "nano", "pico", "emacs", "emacsclient", "micro", "kak", "joe", "ne", "mg", "ed")
_GOTO = ("code", "code-insiders", "codium", "cursor", "windsurf")
_COLON = ("subl", "hx", "helix", "zed", "atom")
_READ_ONLY = {  # how an editor is told to change nothing
    **dict.fromkeys(("vi", "vim", "nvim", "view"), "-R"), "nano": "-v", "pico": "-v", "micro": "-readonly=true",
    "kak": "-ro",
}  # fmt: skip
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_FALLBACKS = ("nano", "vim", "vi", "notepad")
_LIMIT = 64 << 20  # bytes; larger files are not read


def command(editor: str, file: Path, line: int, read_only: bool = False) -> list[str]:
    """The command line that opens a file at a line; an unknown editor gets only the file."""
    words = shlex.split(editor)
    name = _name(words)
    words += [_READ_ONLY[name]] if read_only and name in _READ_ONLY else []
    if name in _PLUS:
        return [*words, f"+{line}", str(file)]
    if name in _GOTO:
        return [*words, "--goto", f"{file}:{line}"]
    return [*words, f"{file}:{line}" if name in _COLON else str(file)]


def _name(words: list[str]) -> str:
    return Path(words[0]).name.lower().removesuffix(".exe") if words else ""


def is_installed(file: str) -> bool:
    """Whether a file belongs to an installed library or to Python: a slip of the hand there would break programs."""
    if _INSTALLED.search(file):
        return True
    try:
        library = Path(sysconfig.get_paths()["stdlib"]).resolve()
        return library in Path(file).resolve().parents
    except (OSError, ValueError):
        return False


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


def file_to_open(trace: Trace, file: str, editor: str = "") -> tuple[Path, bool]:
    """Find the file to open for a source file of the trace.

    Args:
        trace: The trace.
        file: The source file.
        editor: The editor; one that cannot be told to change nothing gets a copy of an installed file.

    Returns:
        The file itself and True if it has not changed since the run; else a temporary copy of the recorded text, which
        cannot be written to, and False.

    Raises:
        TraceError: The trace has no copy of the file.
    """
    lines = trace.source(file)
    if not lines:
        raise TraceError("The trace has no copy of this file: record it again.")
    live = Path(file)
    kept = is_installed(file) and _name(shlex.split(editor)) not in _READ_ONLY
    try:
        if not kept and live.is_file() and live.stat().st_size <= _LIMIT:
            text = live.read_text(encoding="utf-8", errors="replace")
            if text.splitlines() == lines:
                return live, True
    except (OSError, ValueError):
        pass
    folder = Path(tempfile.mkdtemp(prefix="tftrace-"))
    copy = folder / (Path(file.replace("\\", "/")).name or "source.py")
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    copy.chmod(0o444)
    return copy, False
