"""The small trained models that ship with the package, each with a text to run it on; knowing them needs no torch."""

from __future__ import annotations

from pathlib import Path

from ..errors import TraceError

DEMOS = {
    "bert": "The plot is thin, but I love the actors.",
    "gpt2": "Once upon a time there was a kind boy named Anko. His mother gave him a golden key. One day Anko",
    "transformer": "2026-11-22",
}


def demo_folder(name: str) -> Path:
    """Where a demo's model lies; raises TraceError for a name that is none of them."""
    if name not in DEMOS:
        raise TraceError(f"There is no demo {name!r}: choose {', '.join(DEMOS)}.")
    return Path(__file__).parent / name
