"""What a recording costs once: `python -m tests.benchmarks.first`.

Most recordings are of one small forward: every test of a tiny model makes one. What it pays is opening and closing, the
hooks, the weights; the first one of a process pays for imports, source files and recipes as well."""

from __future__ import annotations

import compileall
import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .measure import in_fresh_process, timed
from .models import build
from .report import TARGETS, Results, against, arguments, ratio
from .ways import WAYS

_USUAL = ("tftrace modules", "tftrace functions", "tftrace lines", "tftrace ops", "nnsight cache", "TorchLens record")
_FORWARDS = 100  # of a recording with a condition
_PATIENCE = 120.0
_IMPORTS = "import torch, transformers; transformers.BertModel"


def once(way_name: str, seconds: float) -> tuple[float, float]:
    """Seconds of the first recording of a process, and the ratio of a later one to the bare forward."""
    model, ids = build("bert-small")
    way = WAYS[way_name]

    def bare() -> None:
        for _ in range(4):
            model(ids)

    def recorded() -> float:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            began = time.perf_counter()
            with way.open(model, Path(folder)) as forward:
                forward(ids)
            return time.perf_counter() - began  # deleting the folder is no part of it

    bare()
    first = recorded()
    recorded()
    ratios: list[float] = []
    before = timed(bare)
    ends = time.perf_counter() + seconds
    while len(ratios) < 5 or time.perf_counter() < ends:
        took, after = recorded(), timed(bare)
        ratios.append(8 * took / (before + after))
        before = after
    return first, statistics.median(ratios)


def condition(level: str, seconds: float) -> float:
    """Milliseconds that `--when` adds to a forward of a tiny model that does not meet the condition."""
    from tftrace.api import Trace
    from tftrace.capture.forward_choice import Choice
    from tftrace.capture.recorder import Recorder

    model, ids = build("bert-tiny")

    def recorded(when: str | None) -> float:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            path = Path(folder, "run.tftrace")
            with Recorder(model, path, level, False, {}, choice=Choice(when=when), open=Trace):
                model(ids)
                return timed(lambda: [model(ids) for _ in range(_FORWARDS)]) / _FORWARDS

    recorded("nan > 0")
    added: list[float] = []
    ends = time.perf_counter() + seconds
    while len(added) < 3 or time.perf_counter() < ends:
        added.append(1e3 * (recorded("nan > 0") - recorded(None)))
    return statistics.median(added)


def demo(rounds: int) -> tuple[float, float]:
    """Seconds from the shell to the first screen of `tftrace demo bert`, and those of importing what it needs."""
    screens: list[float] = []
    imports: list[float] = []
    for at in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", _IMPORTS], check=True)
        imports.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            screens.append(_first_screen(folder))
        if not at:  # the disk is warm from now on
            screens, imports = [], []
    return statistics.median(screens), statistics.median(imports)


def _first_screen(folder: str) -> float:
    began = time.perf_counter()
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=folder)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed tftrace is compiled
        os.execv(sys.executable, [sys.executable, "-m", "tftrace", "demo", "bert"])
    shown = b""
    try:
        while time.perf_counter() - began < _PATIENCE:
            if select.select([terminal], [], [], 0.02)[0]:
                shown += os.read(terminal, 1 << 16)
            if b"\x1b[?1049h" in shown and b"step 0" in shown.split(b"\x1b[?1049h")[1]:
                return time.perf_counter() - began
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
    raise TimeoutError("the screen of the demo did not come")


def as_installed() -> None:
    """Make what pip makes of a package: bytecode; and what our build makes: the recipes, expanded."""
    import tftrace
    from tftrace.recipes.format import expanded, library

    compileall.compile_dir(Path(tftrace.__file__).parent, quiet=2)
    expanded.store(library.read_all(library.folder()), library.folder())


def collect(ways: Sequence[str] = _USUAL, seconds: float = 4, rounds: int = 3) -> Results:
    """The table of all; without `rounds` the demo is left out."""
    as_installed()
    results = Results("first", "What a recording costs once", ("what", "", "measured", "target"))
    later: list[tuple[str, ...]] = []
    for way in ways:
        if not WAYS[way].installed:
            later.append(("one small forward, recorded", way, "not installed", ""))
            continue
        print(f"first: {way} …", file=sys.stderr, flush=True)
        first, again = in_fresh_process(once, way, seconds)
        later.append(("one small forward, recorded", way, ratio(again), against(again, TARGETS.get(("once", way)))))
        results.rows.append(("the first of a process", way, f"{1e3 * first:.0f} ms", ""))
    results.rows[:0] = later
    for level in ("modules", "lines"):
        added = in_fresh_process(condition, level, seconds)
        target = against(added, TARGETS["first", "ms of --when"])
        results.rows.append(("--when, a forward of a tiny model", level, f"{added:+.2f} ms", target))
    if rounds:
        shown, imported = demo(rounds)
        target = against(shown / imported, TARGETS["first", "demo"])
        results.rows.append(("tftrace demo bert", "shell to first screen", f"{shown:.2f} s", ""))
        results.rows.append(("", "importing torch and transformers", f"{imported:.2f} s", ""))
        results.rows.append(("", "ratio", ratio(shown / imported), target))
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--ways", nargs="+", default=_USUAL, choices=list(WAYS), metavar="WAY")
    parser.add_argument("--seconds", type=float, default=4, help="for each way")
    parser.add_argument("--rounds", type=int, default=3, help="of the demo; 0 leaves it out")
    chosen = parser.parse_args()
    collect(chosen.ways, chosen.seconds, chosen.rounds).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
