"""How soon the screen is there and answers, on a trace of a million steps: `python -m tests.benchmarks.screen`.

First paint is from the start of `tftrace view` on a terminal of 160×48 to the first step on it. A key is the time from
the key to the painted screen, in a process without a terminal; the median over places all over the trace."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import random
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

from tests.support import synthetic
from tftrace import load

from .measure import in_fresh_process
from .report import TARGETS, Results, against, arguments

_SIZE = (160, 48)
_PATIENCE = 60.0  # seconds
KEYS = {
    "s": "into", "S": "back", "n": "over", "N": "back over", "f": "out", "F": "back out", "c": "continue",
    "C": "back to the stop before", "j": "row down", "pagedown": "page down", "right_square_bracket": "next call",
    "right_curly_bracket": "next layer", "right_parenthesis": "next token", "enter": "fold", "z": "fold all",
    "b": "breakpoint",
}  # fmt: skip


def first_paint(path: str, steps: int) -> tuple[float, float, float]:
    """Seconds until the first step is painted, and until the whole trace has been read; the most MB in memory, also
    after some keys."""
    signs = (b"step 0", f"/{steps - 1}".encode())  # what is on the screen then
    began = time.perf_counter()
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=path + ".state")
        os.execv(sys.executable, [sys.executable, "-m", "tftrace", "view", path])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _SIZE[1], _SIZE[0], 0, 0))
    shown = b""
    times: list[float] = []
    try:
        while len(times) < 2 and time.perf_counter() - began < _PATIENCE:
            if select.select([terminal], [], [], 0.02)[0]:
                shown += os.read(terminal, 1 << 16)
            for wanted in signs[len(times) :]:
                if wanted in shown:  # the status line is written in one piece
                    times.append(time.perf_counter() - began)
        os.write(terminal, b"sssncc]})")
        _drain(terminal, 2.0)
        status = Path(f"/proc/{process}/status").read_text()
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    if len(times) < 2:
        raise TimeoutError(f"the screen did not show {signs[len(times)]!r}")
    peak = next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM"))
    return times[0], times[1], peak


def _drain(terminal: int, seconds: float) -> None:
    """Read what is painted for so long."""
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 1 << 16)


def keys(path: str, places: int) -> dict[str, float]:
    """Median milliseconds of each key."""
    from tftrace.tui.app import TraceApp
    from tftrace.tui.trace_loading import prepare

    async def run() -> dict[str, float]:
        app = TraceApp(prepare(Path(path)))
        took: dict[str, list[float]] = {key: [] for key in KEYS}
        pick = random.Random(0)
        async with app.run_test(size=_SIZE) as pilot:
            await pilot.pause()
            for _ in range(places):
                app.go(pick.randrange(len(app.trace)))
                await pilot.pause()
                for key, times in took.items():
                    began = time.perf_counter()
                    await _press(app, key)
                    times.append(time.perf_counter() - began)
        return {key: 1e3 * statistics.median(times) for key, times in took.items()}

    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    return asyncio.run(run())


async def _press(app: Any, key: str) -> None:
    """The key, and the screen as it is then; a pilot would sleep between the two."""
    from textual import events

    await app.on_event(events.Key(key, key if len(key) == 1 else None))
    for _ in range(10):  # the focused pane has some keys first, and what a key asked to be called is called
        await asyncio.sleep(0)
    app.screen._compositor.render_strips()


def collect(steps: int = 1_000_000, places: int = 40) -> Results:
    """The table of all."""
    results = Results("screen", f"The screen on a trace of {steps:,} steps", ("what", "", "measured", "target"), 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = str(synthetic.write(Path(folder) / "long.tftrace", steps))
        subprocess.run([sys.executable, "-c", "import tftrace.tui.app"], check=True)  # a warm disk
        paints = [first_paint(path, len(load(path))) for _ in range(5)]
        first, whole, memory = (statistics.median(times) for times in zip(*paints, strict=True))
        took = in_fresh_process(keys, path, places)
    slowest = max(took.values())
    results.rows += [
        ("first paint", "from the shell", f"{first:.2f} s", against(first, TARGETS["screen", "first paint"])),
        ("all is read", "in the background", f"{whole:.2f} s", ""),
        ("memory", "at most", f"{memory:.0f} MB", against(memory, TARGETS["screen", "MB in memory"])),
        ("slowest key", "median", f"{slowest:.1f} ms", against(slowest, TARGETS["screen", "ms a key"])),
    ]
    results.rows += [("key", f"{key} ({KEYS[key]})", f"{ms:.1f} ms", "") for key, ms in took.items()]
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    chosen = parser.parse_args()
    collect(chosen.steps).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
