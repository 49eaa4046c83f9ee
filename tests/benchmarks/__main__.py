"""All benchmarks, one after another: `make bench`, or `python -m tests.benchmarks --markdown docs/performance.md`."""

from __future__ import annotations

from . import checks, generation, memory, overhead, screen
from .report import arguments


def main() -> None:
    """Each table is printed, and written, when it is there, so that a run that is stopped leaves what it found."""
    chosen = arguments(__doc__).parse_args()
    for benchmark in (overhead, checks, generation, memory, screen):
        benchmark.collect().deliver(chosen.markdown)


if __name__ == "__main__":
    main()
