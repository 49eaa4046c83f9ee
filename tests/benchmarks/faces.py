"""What looking at traces takes: opening, comparing, exporting: `python -m tests.benchmarks.faces`."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..support import synthetic
from .measure import in_fresh_process, timed
from .models import build
from .report import Results, arguments

_FORMATS = ("csv", "parquet", "jsonl", "html", "perfetto.json")
_TIMES = 3


def recorded(folder: str) -> None:
    """Record one forward of the small BERT twice, at level lines."""
    import tftrace

    model, ids = build("bert-small")
    for name in ("left", "right"):
        with tftrace.record(model, Path(folder, name), level="lines"):
            model(ids)


def measure(folder: str, long: str) -> dict[str, float]:
    """Median seconds of each."""
    import tftrace
    from tftrace.compare import TraceSide, compare_runs
    from tftrace.describe import row

    def opened(path: str | Path) -> None:
        trace = tftrace.load(path)
        row(trace, 0), trace[0].tensors, trace.missing

    def compared() -> None:
        left, right = (TraceSide(tftrace.load(Path(folder, name))) for name in ("left", "right"))
        assert compare_runs(left, right).verdict == "equal"

    def exported(path: str, name: str) -> None:
        target = Path(folder, f"run.{name}")
        tftrace.load(path).export(target, overwrite=True)

    def seconds(work: Callable[..., None], *args: str | Path) -> float:
        return statistics.median(timed(work, *args) for _ in range(_TIMES + 1))  # of which one is the first

    found = {"opening, small": seconds(opened, Path(folder, "left")), "opening, long": seconds(opened, long)}
    found["comparing, small"] = seconds(compared)
    for name in _FORMATS:
        found[f"exporting to {name}, small"] = seconds(exported, f"{folder}/left", name)
    for name in _FORMATS[:2]:
        found[f"exporting to {name}, long"] = seconds(exported, long, name)
    return found


def collect(steps: int = 100_000) -> Results:
    """The table of all."""
    print("faces: …", file=sys.stderr, flush=True)
    results = Results("faces", "Opening, comparing and exporting", ("what", "trace", "seconds"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        long = str(synthetic.write(Path(folder) / "long.tftrace", steps))
        in_fresh_process(recorded, folder)
        found = in_fresh_process(measure, folder, long)
    names = {"small": "a forward of the small BERT, lines", "long": f"{steps:,} steps"}
    results.rows = [(what.split(", ")[0], names[what.split(", ")[1]], f"{took:.3f}") for what, took in found.items()]
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="of the long trace")
    chosen = parser.parse_args()
    collect(chosen.steps).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
