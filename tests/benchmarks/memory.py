"""Whether memory stays flat while a recording goes on: `python -m tests.benchmarks.memory`.

Two long recordings: many forwards of a tiny BERT, and one forward that calls a module very often. Each runs in a
process of its own, once without a recording, so that what torch and Python themselves take is seen too."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch

from .measure import folder_size, has_rss, in_fresh_process, rss
from .models import Repeated, build
from .report import Results, arguments

_LEVELS = ("none", "modules", "lines")
_INTERVALS = 8
_FLAT_MB = 10.0  # the allocator alone moves by a few


class Course(NamedTuple):
    """MB above what was in use before the recording was opened, after each interval and after closing; MB on disk."""

    grown: list[float]
    closed: float
    disk_mb: float

    @property
    def late(self) -> float:
        """Growth after the first quarter, by when every cache has been filled."""
        return self.grown[-1] - self.grown[_INTERVALS // 4 - 1]


def many_forwards(level: str, times: int) -> Course:
    """Record so many forwards of a tiny model."""
    model, ids = build("bert-tiny")
    every = times // _INTERVALS

    def work(report: Callable[[], None]) -> None:
        for at in range(1, times + 1):
            model(ids)
            if at % every == 0:
                report()

    model(ids)
    return _follow(model, level, work)


def many_calls(level: str, times: int) -> Course:
    """Record one forward with so many calls of a module."""
    model = Repeated(times, times // _INTERVALS)

    def work(report: Callable[[], None]) -> None:
        model.report = report
        model(torch.ones(1, 8))

    return _follow(model, level, work)


def _follow(model: torch.nn.Module, level: str, work: Callable[[Callable[[], None]], None]) -> Course:
    import tftrace

    grown: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        before = rss()
        recording: AbstractContextManager[object] = nullcontext()
        if level != "none":
            recording = tftrace.record(model, Path(folder, "run.tftrace"), level=level, values="none")
        with recording:
            work(lambda: grown.append(rss() - before))
        return Course(grown, rss() - before, folder_size(Path(folder)))


def collect(forwards: int = 800, calls: int = 40_000) -> Results:
    """The table of both."""
    at = [f"{n}/{_INTERVALS}" for n in range(1, _INTERVALS + 1)]
    columns = ("what", "level", *at, "closed", "after 2/8", "on disk")
    title = "MB of memory above the start, after each eighth of a long recording"
    results = Results("memory", title, columns)
    if not has_rss():
        results.notes.append("Not measured: this system does not say how much memory a process has.")
        return results
    for what, work, times in (
        (f"{forwards:,} forwards", many_forwards, forwards),
        (f"{calls:,} module calls", many_calls, calls),
    ):
        for level in _LEVELS:
            print(f"memory: {what}, {level} …", file=sys.stderr, flush=True)
            course = in_fresh_process(work, level, times)
            verdict = f"flat ({course.late:+.1f})" if course.late < _FLAT_MB else f"grows by {course.late:.0f}"
            figures = [f"{mb:.0f}" for mb in (*course.grown, course.closed)]
            disk = f"{course.disk_mb:.1f}" if level != "none" else ""
            results.rows.append((what, level, *figures, verdict, disk))
    results.notes.append(
        f"The forwards are a tiny BERT's (hidden 32, 2 layers, 16 tokens), the module calls are within one forward. "
        f"Flat: less than {_FLAT_MB:.0f} MB between the second eighth and the last."
    )
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--forwards", type=int, default=800)
    parser.add_argument("--calls", type=int, default=40_000)
    chosen = parser.parse_args()
    collect(chosen.forwards, chosen.calls).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
