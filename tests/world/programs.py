"""Runs a program alone and by `tftrace run`, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tftrace

from .alone import sound

_TIMES = re.compile(r" in \d|^\d\d/\d\d/\d{4} |runtime|_per_second")  # as pytest, loggers and trainers tell them


def outcome(
    folder: Path, *words: str, options: tuple[str, ...] = (), code: int = 0, saves: str | None = None
) -> tftrace.Trace:
    """Run a program in a folder, and make sure that it prints and saves the same when it is recorded.

    Args:
        folder: Where to run it.
        words: The program and its arguments, after `python` or `tftrace run`.
        options: Options of `tftrace run`.
        code: The exit code that it has.
        saves: A file that it writes.

    Returns:
        The trace.
    """
    alone = _run(folder, code, saves, *words)
    recorded = _run(folder, code, saves, "-m", "tftrace", "run", "--force", "-o", "run.tftrace", *options, *words)
    assert recorded == alone
    trace = tftrace.load(folder / "run.tftrace")
    sound(trace)
    return trace


def _run(folder: Path, code: int, saves: str | None, *words: str) -> tuple[list[str], bytes]:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stderr
    said = [line for line in done.stdout.splitlines() if not _TIMES.search(line)]
    return said, (folder / saves).read_bytes() if saves else b""
