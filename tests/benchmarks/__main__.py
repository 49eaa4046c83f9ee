"""All benchmarks, one after another: `make bench`, or `python -m tests.benchmarks --markdown docs/performance.md`.

`--only overhead first` runs some of them. All take some twenty minutes on two quiet cores."""

from __future__ import annotations

from . import accelerator, checks, faces, first, generation, llama, memory, overhead, screen
from .report import arguments


def main() -> None:
    """Each table is printed, and written, when it is there, so that a run that is stopped leaves what it found."""
    every = {
        one.__name__.rpartition(".")[2]: one
        for one in (overhead, first, generation, checks, accelerator, llama, memory, faces, screen)
    }
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=list(every), choices=list(every), metavar="NAME")
    chosen = parser.parse_args()
    for name in chosen.only:
        every[name].collect().deliver(chosen.markdown)


if __name__ == "__main__":
    main()
