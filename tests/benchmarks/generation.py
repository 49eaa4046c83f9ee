"""What recording a generation costs: `python -m tests.benchmarks.generation`.

Tokens are chosen greedily by a GPT-2 with its cache of keys and values, which is a forward for each in one
recording: 100 by GPT-2 small, 50 by one of four layers and a width of 128. The time is that of the whole `with` block,
opening, closing and the weights included."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from .measure import folder_size, has_rss, in_fresh_process, peak_rss, reset_peak, rss, timed
from .models import MODELS, build
from .report import TARGETS, Results, against, arguments, ratio

_LEVELS = ("modules", "lines")
_TOKENS = {"gpt2-four": 50, "gpt2": 100}  # that each model chooses
_PROMPT = 8  # tokens


class Cost(NamedTuple):
    """Of the recorded generation; the memory is NaN where the system does not tell."""

    time: float
    low: float
    high: float
    disk_mb: float
    memory_mb: float
    bare_memory_mb: float
    bare_s: float
    rounds: int


def measure(name: str, level: str, tokens: int, seconds: float) -> Cost:
    """Record generations of one model at one level."""
    import tftrace

    model, ids = build(name)
    ids = ids[:, :_PROMPT]

    def bare() -> None:
        made = model.generate(
            ids, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, use_cache=True, pad_token_id=0
        )
        assert made.shape[1] == _PROMPT + tokens

    def traced(folder: str) -> None:
        with tftrace.record(model, Path(folder, "run.tftrace"), level=level, values="none"):
            bare()

    bare()
    bare_memory = _growth(bare)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        memory = _growth(traced, folder)
        disk = folder_size(Path(folder))

    ratios: list[float] = []
    plains = [timed(bare)]
    ends = time.perf_counter() + seconds
    while len(ratios) < 3 or (len(ratios) < 7 and time.perf_counter() < ends):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            recorded = timed(traced, folder)
        plains.append(timed(bare))
        ratios.append(2 * recorded / sum(plains[-2:]))
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    middle = statistics.median(ratios)
    return Cost(middle, low, high, disk, memory, bare_memory, statistics.median(plains), len(ratios))


def _growth(work: Callable[..., None], *args: str) -> float:
    """MB by which the peak of memory during a piece of work lies above what was in use before."""
    if not has_rss():
        return float("nan")
    reset_peak()
    before = rss()
    work(*args)
    return peak_rss() - before


def collect(
    levels: Sequence[str] = _LEVELS,
    models: Sequence[str] = tuple(_TOKENS),
    tokens: int | None = None,
    seconds: float = 15,
) -> Results:
    """The table of these models and levels."""
    columns = ("model", "level", "time", "half lies in", "MB on disk", "MB in memory", "bare MB in memory")
    results = Results("generation", "Tokens chosen greedily, recorded as a whole", columns)
    for name in models:
        count = tokens or _TOKENS[name]
        title = f"{MODELS[name].title}, {count} tokens"
        for level in levels:
            print(f"generation: {title}, {level} …", file=sys.stderr, flush=True)
            cost = in_fresh_process(measure, name, level, count, seconds)
            figures = (
                ("time", cost.time, ratio(cost.time)),
                ("MB on disk", cost.disk_mb, f"{cost.disk_mb:.1f}"),
                ("MB in memory", cost.memory_mb, f"{cost.memory_mb:.1f}"),
            )
            duration, disk, memory = (
                f"{shown} {against(figure, TARGETS.get((name, level, what)))}".rstrip()
                for what, figure, shown in figures
            )
            spread = f"{ratio(cost.low)}–{ratio(cost.high)}"
            results.rows.append((title, level, duration, spread, disk, memory, f"{cost.bare_memory_mb:.1f}"))
            bare = f"{title}, at {level}: a bare generation took {cost.bare_s:.2f} s, over {cost.rounds} rounds."
            results.notes.append(bare)
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--levels", nargs="+", default=_LEVELS)
    parser.add_argument("--models", nargs="+", default=list(_TOKENS), choices=list(_TOKENS), metavar="NAME")
    parser.add_argument("--tokens", type=int, help="for each model; by default 50 and 100")
    parser.add_argument("--seconds", type=float, default=15, help="for each level; there are three rounds at least")
    chosen = parser.parse_args()
    collect(chosen.levels, chosen.models, chosen.tokens, chosen.seconds).deliver(chosen.markdown)


if __name__ == "__main__":
    main()
