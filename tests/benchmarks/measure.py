"""How things are measured here: alternating blocks and medians for time, /proc for memory, a fresh process for each.

The speed of a machine drifts by more than the costs we are after, so every figure is a ratio to the bare forward
that ran just before and just after it in the same process."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_BLOCK_SECONDS = 1.0  # of forwards in a block: well above what the clock and the scheduler disturb
_FEWEST, _MOST = 2, 200  # forwards a block
_ROUNDS = 3, 15
_LONGEST_SECONDS = 1800  # of one process: a way that hangs must not hold up the rest


@dataclass(frozen=True)
class Cost:
    """Ratios to the bare forward: medians over the rounds, and for the steady one where half of the rounds lie."""

    steady: float
    low: float
    high: float
    once: float
    bare_ms: float
    rounds: int


def compare(bare: Callable[[int], None], traced: Callable[[int], float], seconds: float) -> Cost:
    """Alternate bare and traced blocks for about so many seconds.

    Args:
        bare: runs that many plain forwards.
        traced: opens a recording, runs that many forwards, closes it and returns the seconds that all of it took.
        seconds: after this time no further round begins; there are three at least.
    """
    bare(1)
    traced(1)  # modules that are imported late, source files that are parsed once: not the cost of a recording
    one, two = traced(1), traced(2)
    plain = min(timed(bare, 1) for _ in range(3))
    plain_forwards, forwards = _forwards(plain), _forwards(max(two - one, plain))

    steady: list[float] = []
    once: list[float] = []
    plains: list[float] = []
    before = timed(bare, plain_forwards) / plain_forwards
    ends = time.perf_counter() + seconds
    while len(steady) < _ROUNDS[0] or (len(steady) < _ROUNDS[1] and time.perf_counter() < ends):
        one, many = traced(1), traced(1 + forwards)
        after = timed(bare, plain_forwards) / plain_forwards
        plain = (before + after) / 2
        steady.append((many - one) / forwards / plain)
        once.append(one / plain)
        plains.append(plain)
        before = after
    low, _, high = statistics.quantiles(steady, n=4, method="inclusive")
    return Cost(
        statistics.median(steady), low, high, statistics.median(once), 1e3 * statistics.median(plains), len(steady)
    )


def timed(work: Callable[..., Any], *args: Any) -> float:
    """Seconds that a piece of work takes; what earlier ones left to the garbage collector is not on its bill."""
    gc.collect()
    began = time.perf_counter()
    work(*args)
    return time.perf_counter() - began


def _forwards(seconds: float) -> int:
    return min(max(round(_BLOCK_SECONDS / seconds), _FEWEST), _MOST)


def in_fresh_process(work: Callable[..., T], *args: Any, environment: Mapping[str, str] | None = None) -> T:
    """Call a function of this package in a new process with one thread for computing, and return what it returns;
    `environment`: variables that are set there.

    A plain new interpreter, because TorchLens refuses to run in the processes of `multiprocessing`."""
    spec = sys.modules[work.__module__].__spec__
    assert spec is not None, "run the benchmarks with python -m"  # so that the new process finds them too
    # NumPy's libraries read these when they are loaded, so torch.set_num_threads alone is not enough.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        task, answer = Path(folder, "task"), Path(folder, "answer")
        task.write_bytes(pickle.dumps((spec.name, work.__name__, args)))
        code = f"from {__name__} import serve; serve({str(task)!r}, {str(answer)!r})"
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | threads | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=_LONGEST_SECONDS,
        )
        found: T = pickle.loads(answer.read_bytes())
    return found


def serve(task: str, answer: str) -> None:
    """The other side of `in_fresh_process`."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # the tables are what is read
    module, name, args = pickle.loads(Path(task).read_bytes())
    with torch.no_grad():
        found = getattr(importlib.import_module(module), name)(*args)
    Path(answer).write_bytes(pickle.dumps(found))


# -- memory and disk ----------------------------------------------------------------------------------


def has_rss() -> bool:
    """Whether this system says how much memory a process has (Linux does)."""
    return Path("/proc/self/status").is_file()


def rss() -> float:
    """MB that this process has in memory."""
    return _status("VmRSS")


def peak_rss() -> float:
    """The most MB this process has had in memory since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Begin to watch for the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def folder_size(folder: Path) -> float:
    """MB of all files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
