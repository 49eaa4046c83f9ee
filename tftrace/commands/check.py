"""`tftrace check`: the verdicts of a run, and an exit code for scripts."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING

from ..trace import load
from ._shared import Switch, say

if TYPE_CHECKING:
    from ..trace import Trace
    from ..verdicts import Summary


def check(trace: Path, *, json: Switch = False) -> int:
    """Print the verdicts on the equations of a run; the exit code is 1 if any differs.

    Parameters
    ----------
    trace
        Folder of the trace.
    json
        As JSON.
    """
    from ..verdicts import summaries

    opened = load(trace)
    found = summaries(opened)
    if json:
        print(json_format.dumps([summary.to_dict() for summary in found], indent=1, ensure_ascii=False))
    else:
        _print(opened, found)
    return int(any(summary.differs for summary in found))


def _print(trace: Trace, found: list[Summary]) -> None:
    from rich.console import Console
    from rich.text import Text

    from .. import describe, schema
    from ..describe import MARKS
    from ..text import number, visible

    console = Console(highlight=False)
    wide = max([len(visible(s.equation)) for s in found] + [8])
    if found:
        head = f"  {'equation':{wide}}  {'hold':>6} {'differ':>6} {'unchecked':>9}  residual against its bound"
        console.print(Text(head, "dim"), soft_wrap=True)
    for summary in found:
        verdict = schema.DIFFERS if summary.differs else schema.HOLDS if summary.holds else schema.UNCHECKED
        relation = ">" if summary.differs else "≤"
        measured = "" if summary.bound is None else f"{number(summary.residual)} {relation} {number(summary.bound)}"
        counts = f"{summary.holds or '':>6} {summary.differs or '':>6} {summary.unchecked or '':>9}"
        line = f"{MARKS[verdict]} {visible(summary.equation):{wide}}  {counts}  {measured}"
        style = {schema.DIFFERS: "bold red", schema.UNCHECKED: "dim"}.get(verdict, "")
        console.print(Text(line.rstrip(), style), soft_wrap=True)
        said = [f"fits: {name} ({count})" for name, count in summary.variants.items()]
        if summary.first is not None:
            said.insert(0, f"first at step {summary.first}, {describe.path(trace, summary.first)}")
        said += [f"{reason} ({count})" for reason, count in list(summary.reasons.items())[:3]]
        for text in said:
            console.print(Text(f"    {visible(text)}", "dim" if verdict == schema.UNCHECKED else ""), soft_wrap=True)
    count = {name: sum(getattr(s, name) for s in found) for name in ("holds", "differs", "unchecked")}
    say(
        f"{count['holds']} checks hold, {count['differs']} differ, {count['unchecked']} could not be made."
        if found
        else "No equation was checked in this run: record it without --no-check."
    )
