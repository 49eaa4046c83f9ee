"""`tftrace nan`: where the NaN and Inf of a run were made, and an exit code for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import Paper, document, say
from ..trace.trace import load
from ._shared import Switch

if TYPE_CHECKING:
    from ..navigate.nonfinite import Origin
    from ..trace.trace import Trace

_MOST = 50  # origins that are printed


def nan(trace: Path, *, json: Switch = False) -> int:
    """Print where NaN and Inf of a run were made, why, and what they reached; the exit code is 1 if any were.

    -Inf that fills a mask or suppresses tokens, and NaN that stays in padding, is only counted.

    Parameters
    ----------
    trace
        Folder of the trace.
    json
        Print JSON.
    """
    from ..export.jsonlines import dumps
    from ..navigate.nonfinite import origins

    opened = load(trace)
    found = origins(opened)
    if json:
        document([dumps(found.to_dict(), indent=1), "\n"])
    else:
        _print(opened, found.found)
        places = f"{found.innocent} place{'s' if found.innocent != 1 else ''} made some that harms nothing."
        count = len(found.found)
        made = f"{count} origin{'s' if count != 1 else ''} of NaN or Inf." if count else "No NaN or Inf was made."
        say(f"{made} {places}" if found.innocent else made)
    return int(bool(found.found))


def _print(trace: Trace, found: tuple[Origin, ...]) -> None:
    from .. import describe

    paper = Paper()
    for one, again in _grouped(found)[:_MOST]:
        paper.write([(describe.nan_title(trace, one), "bold red")])
        written = describe.statement(trace, one.step) if one.line is not None else ""
        lines = [(written, ""), (describe.nan_sentence(one), "bold")]
        lines += [(f"and again at {len(again)} later steps, up to step {again[-1]}", "dim")] if again else []
        for text, style in filter(lambda line: line[0], lines):
            paper.write([(f"    {text}", style)])
    paper.flush()


def _grouped(found: tuple[Origin, ...]) -> list[tuple[Origin, list[int]]]:
    """The origins, those of one line with one cause as one, with the steps at which it came again."""
    groups: dict[tuple[object, ...], tuple[Origin, list[int]]] = {}
    for one in found:
        key = (one.name, one.type, one.file, one.line, one.tensor, one.what, one.cause)
        groups.setdefault(key, (one, []))[1].append(one.step)
    return [(one, steps[1:]) for one, steps in groups.values()]
