"""`tftrace nan`: where the NaN and Inf of a run were made, and an exit code for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..language.retell import retold
from ..terminal import Paper, document, say
from ..trace.missing import must_have_steps
from ..trace.trace import load
from ._bounds import WHOLE, Bounds
from ._shared import Switch

if TYPE_CHECKING:
    from ..navigate.nonfinite import Origin
    from ..trace.trace import Trace

_MOST = 50  # origins that are printed


def nan(trace: Path, *, json: Switch = False, bounds: Bounds = WHOLE) -> int:
    """Print where NaN and Inf of a run were made, why, and what they reached; the exit code is 1 if any were.

    -Inf that fills a mask or suppresses tokens, and NaN that stays in padding, is only counted.

    Parameters
    ----------
    trace
        Folder of the trace.
    json
        Print JSON.
    """
    from ..answers.origin_answer import origin_answer, totals
    from ..export.jsonlines import dumps
    from ..navigate.nonfinite import origins

    opened = load(trace)
    must_have_steps(opened)
    if bounds.asked:
        return bounds.give(lambda: origin_answer(opened, depth=bounds.depth), json)
    found = origins(opened)
    if json:
        document([dumps(found.to_dict(), indent=1), "\n"])
    else:
        _print(opened, found.found)
        say(totals(len(found.found), found.innocent))
    return int(bool(found.found))


def _print(trace: Trace, found: tuple[Origin, ...]) -> None:
    from .. import describe
    from ..answers.origin_answer import again_sentence, grouped

    paper = Paper()
    for one, again in grouped(found)[:_MOST]:
        paper.write([(retold(describe.nan_title(trace, one)), "bold red")])
        written = describe.statement(trace, one.step) if one.line is not None else ""
        lines = [(written, ""), (retold(describe.nan_sentence(one)), "bold")]
        lines += [(again_sentence(again), "dim")] if again else []
        for text, style in filter(lambda line: line[0], lines):
            paper.write([(f"    {text}", style)])
    paper.flush()
