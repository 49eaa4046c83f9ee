"""What a recording asks an accelerator for, counted: `python -m tests.benchmarks.accelerator`.

No device is needed: the CPU stands in for one (`tests/support/stand_in.py`), and the kernel by Triton is not run but
counted. What is counted is what our code does beside the model, of one forward more in a running recording."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from .measure import in_fresh_process
from .models import MODELS, build
from .report import Results, arguments

_LEVELS = ("modules", "functions", "lines", "ops")
_MODEL = "bert-small"
_WAYS = {"torch's operations": False, "the kernel": True}


class Asked(NamedTuple):
    """What recordings asked for: launches of a forward more and of the first, which has the weights; what waited."""

    tensors: int
    kernels: int
    operations: int
    first: int
    during: int
    after: int


def measure(level: str, fused: bool) -> Asked:
    """Record one forward, and three."""
    import pytest

    import tftrace
    from tftrace.capture.measure import summaries

    from ..support.stand_in import count_kernels, stand_in

    model, ids = build(_MODEL)
    tensors: list[int] = []
    of = summaries.Summaries.of

    def counted(self: summaries.Summaries, tensor: Any) -> Any:
        tensors.append(1)
        return of(self, tensor)

    def recorded(forwards: int) -> tuple[int, int, int, int, int]:
        tensors.clear()
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            kernels = count_kernels(patch) if fused else []
            patch.setattr(summaries.Summaries, "of", counted)
            watch = stand_in(patch)
            with tftrace.record(model, Path(folder, "run.tftrace"), level=level, values="none") as trace:
                for _ in range(forwards):
                    model(ids)
            assert "failure" not in trace.meta, trace.meta["failure"]
        return len(tensors), len(kernels), len(watch.kernels), len(watch.during), watch.after.count("cpu")

    recorded(1)  # weights of prints are made once a process
    one, three = recorded(1), recorded(3)
    more = [(many - first) // 2 for many, first in zip(three, one, strict=True)]
    return Asked(more[0], more[1], more[2], one[1] + one[2], three[3], one[4])


def collect() -> Results:
    """The table of all levels, both ways."""
    columns = (
        "level",
        "by",
        "tensors",
        "launches",
        "of them the kernel",
        "a tensor",
        "first forward",
        "waits",
        "copies",
    )
    results = Results("accelerator", "What an accelerator is asked for", columns)
    for level in _LEVELS:
        for way, fused in _WAYS.items():
            print("accelerator:", level, way, file=sys.stderr, flush=True)
            asked = in_fresh_process(measure, level, fused)
            launches = asked.kernels + asked.operations
            counts = (asked.tensors, launches, asked.kernels)
            each = f"{launches / max(asked.tensors, 1):.1f}"
            rest = (asked.first, asked.during, asked.after)
            results.rows.append((level, way, *map(str, counts), each, *map(str, rest)))
    results.notes.append(
        f"{MODELS[_MODEL].title}, {MODELS[_MODEL].tokens} tokens. Tensors that are measured anew, and launches, in a "
        "forward more of a running recording; the first forward also has the weights. Waits: synchronisations within "
        "forwards; copies: to the host, at the end of a forward that is written."
    )
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    collect().deliver(arguments(__doc__).parse_args().markdown)


if __name__ == "__main__":
    main()
