"""What looking into a forward costs, as a ratio to the bare forward: `python -m tests.benchmarks.overhead`.

`steady` is what one forward more costs, its share of everything written included: the time of a recording of n + 1
forwards less that of one forward, a n-th of it. `once` is a whole recording of one forward, from opening to closing,
with the weights that are read once. Each way runs in a process of its own, where bare and traced blocks alternate."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .measure import Cost, compare, in_fresh_process, timed
from .models import MODELS, build
from .report import TARGETS, Results, against, arguments, ratio
from .ways import WAYS, short

_USUAL = ("bert-base", "bert-small")
_COLUMNS = ("model", "way", "steady", "half lies in", "once", "target")


def measure(model_name: str, way_name: str, seconds: float) -> Cost | str:
    """One way on one model, or why it does not run there."""
    model, ids = build(model_name)
    way = WAYS[way_name]

    def bare(forwards: int) -> None:
        for _ in range(forwards):
            model(ids)

    def traced(forwards: int) -> float:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            return timed(_recording, forwards, Path(folder))

    def _recording(forwards: int, folder: Path) -> None:
        with way.open(model, folder) as forward:
            for _ in range(forwards):
                forward(ids)

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some ways print as they go
            return compare(bare, traced, seconds)
    except Exception as error:
        return short(error)


def collect(models: Sequence[str] = _USUAL, ways: Sequence[str] = tuple(WAYS), seconds: float = 4) -> Results:
    """The table of these models and ways."""
    results = Results("overhead", "Time of a forward, as a ratio to the bare one", _COLUMNS)
    bare: dict[str, str] = {}
    failed: list[str] = []
    for name in models:
        title = MODELS[name].title
        for way in ways:
            if not WAYS[way].installed:
                results.rows.append((title, way, "not installed", "", "", ""))
                continue
            try:
                cost = in_fresh_process(measure, name, way, seconds)
            except subprocess.SubprocessError as error:  # it took the whole process down
                cost = short(error)
            if isinstance(cost, str):
                _progress(title, way, cost)
                results.rows.append((title, way, "does not run", "", "", ""))
                failed.append(f"{way} does not run on {title}: {cost}")
                continue
            bare.setdefault(name, f"{title} {cost.bare_ms:.1f} ms ({MODELS[name].tokens} tokens)")
            spread = f"{ratio(cost.low)}–{ratio(cost.high)}"
            target = against(cost.steady, TARGETS.get((name, way)))
            results.rows.append((title, way, ratio(cost.steady), spread, ratio(cost.once), target))
            _progress(*results.rows[-1][:4])
    kept = "; ".join(f"{way}: {WAYS[way].keeps}" for way in ways)
    results.notes += [*failed, f"What is kept. {kept}.", f"Bare forwards: {', '.join(bare.values())}."]
    return results


def _progress(*words: str) -> None:
    """A line as soon as something is known: the table comes after minutes."""
    print("overhead:", *words, file=sys.stderr, flush=True)


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=_USUAL, choices=list(MODELS), metavar="NAME")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    parser.add_argument("--seconds", type=float, default=4, help="for each way on each model; three rounds at least")
    chosen = parser.parse_args()
    collect(chosen.models, chosen.ways, chosen.seconds).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
