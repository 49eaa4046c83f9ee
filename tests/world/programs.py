"""Runs a program alone and by `tftrace run`, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tftrace

from .alone import sound

_OURS = ("Recorded", "Next:", "After ")


def outcome(folder: Path, *words: str, options: tuple[str, ...] = (), code: int = 0) -> tftrace.Trace:
    """Run a program in a folder, and make sure that it prints the same when it is recorded.

    Args:
        folder: Where to run it.
        words: The program and its arguments, after `python` or `tftrace run`.
        options: Options of `tftrace run`.
        code: The exit code that it has.

    Returns:
        The trace.
    """
    alone = _run(folder, code, *words)
    recorded = _run(folder, code, "-m", "tftrace", "run", "--force", "-o", "run.tftrace", *options, *words)
    assert recorded == alone
    trace = tftrace.load(folder / "run.tftrace")
    sound(trace)
    return trace


def _run(folder: Path, code: int, *words: str) -> list[str]:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stderr
    return [line for line in done.stdout.splitlines() if " in " not in line]  # pytest tells how long it took
