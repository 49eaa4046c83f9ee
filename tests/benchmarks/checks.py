"""What the checks add to a recording: `python -m tests.benchmarks.checks`.

A recording with checks is compared with one without, in one process, where blocks of both alternate: the difference is
smaller than what two ratios to the bare forward, each measured by itself, would show. `steady` and `once` are as in
`overhead`.

glibc gives freed memory at the end of the heap back to the system, and to touch it anew costs a page fault for each
4 KB, thousands in a forward. Whether a model's forward falls into this is chance: it hangs on where in the heap a few
small objects happen to lie. So the ratios are measured in a process that keeps its memory, and the steady one also as
it is by default."""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .measure import in_fresh_process, timed
from .models import MODELS, build
from .report import TARGETS, Results, against, arguments, ratio

_USUAL = ("bert-base",)
_BLOCK_SECONDS, _FEWEST = 2.0, 4  # of forwards in a block
_KEEPING = {"MALLOC_TRIM_THRESHOLD_": str(1 << 29), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}  # bytes; for glibc


class Share(NamedTuple):
    """Ratios to a recording without checks: medians, and for the steady one where half of the rounds lie."""

    steady: float
    low: float
    high: float
    once: float
    without_ms: float
    rounds: int


def measure(model_name: str, seconds: float) -> Share:
    """Recordings of one model at level lines, by turns with and without checks."""
    import tftrace

    model, ids = build(model_name)

    def recorded(forwards: int, check: bool | int) -> float:
        """Seconds of a forward after the first, with what comes at the end; of the first, with all, if it is alone."""
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            with tftrace.record(model, Path(folder, "run.tftrace"), values="none", check=check):
                model(ids)
                if forwards > 1:
                    began = time.perf_counter()
                for _ in range(forwards - 1):
                    model(ids)
            return (time.perf_counter() - began) / max(forwards - 1, 1)

    def both(forwards: int, at: int) -> tuple[float, float]:
        """With and without, each first by turns."""
        times = {}
        for check in (True, 0) if at % 2 else (0, True):
            gc.collect()
            times[check] = recorded(forwards, check)
        return times[True], times[0]

    both(1, 0)
    forwards = 1 + max(round(_BLOCK_SECONDS / timed(model, ids)), _FEWEST)
    steady: list[float] = []
    once: list[float] = []
    without: list[float] = []
    ends = time.perf_counter() + seconds
    while len(steady) < 4 or time.perf_counter() < ends:
        with_checks, plain = both(forwards, len(steady))
        steady.append(with_checks / plain)
        without.append(plain)
        with_checks, plain = both(1, len(steady))
        once.append(with_checks / plain)
    low, middle, high = statistics.quantiles(steady, n=4, method="inclusive")
    return Share(middle, low, high, statistics.median(once), 1e3 * statistics.median(without), len(steady))


def collect(models: Sequence[str] = _USUAL, seconds: float = 30) -> Results:
    """The table of these models."""
    columns = ("model", "steady", "half lies in", "once", "target", "steady by default", "half lies in")
    results = Results("checks", "What the checks add, as a ratio to a recording without", columns, texts=1)
    notes = []
    for name in models:
        print(f"checks: {name} …", file=sys.stderr, flush=True)
        share = in_fresh_process(measure, name, seconds, environment=_KEEPING)
        default = in_fresh_process(measure, name, seconds)
        target = against(share.steady, TARGETS.get((name, "checks")))
        steady, usual = ((ratio(s.steady), f"{ratio(s.low)}–{ratio(s.high)}") for s in (share, default))
        results.rows.append((MODELS[name].title, *steady, ratio(share.once), target, *usual))
        notes.append(f"{MODELS[name].title} {share.without_ms:.1f} ms, {share.rounds} rounds")
    results.notes.append(f"A forward recorded without checks: {'; '.join(notes)}.")
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=_USUAL, choices=list(MODELS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=30, help="for each model and way; four rounds at least")
    chosen = parser.parse_args()
    collect(chosen.models, chosen.seconds).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
