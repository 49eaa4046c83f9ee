"""`tftrace check` prints the verdicts of a run and gives scripts an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..terminal import Paper, document, say
from ..trace.trace import load
from ._shared import Switch

if TYPE_CHECKING:
    from ..navigate.verdict_summary import VerdictSummary
    from ..trace.trace import Trace

_UNCHECKED = (
    "No equation was checked in this run: none that is known describes a step of it ('tftrace recipes' lists them, "
    "--recipes takes yours), or checks were off (by --no-check; at level modules they are on with --check only)."
)


def check(trace: Path, *, json: Switch = False) -> int:
    """Print the verdicts on the equations of a run; the exit code is 1 if any differs, or if NaN or Inf was made.

    Parameters
    ----------
    trace
        Folder of the trace.
    json
        Print JSON.
    """
    from .. import describe
    from ..export.jsonlines import dumps
    from ..navigate.nonfinite import origins
    from ..navigate.verdict_summary import summaries

    opened = load(trace)
    found = summaries(opened)
    if json:
        document([dumps([summary.to_dict() for summary in found], indent=1), "\n"])
    else:
        _print(opened, found)
    for sentence in describe.nan_lines(opened):
        say(f"NaN or Inf was made: {sentence}")
    return int(any(summary.differs for summary in found) or bool(origins(opened).found))


def _measured(summary: VerdictSummary) -> str:
    """The residual against its bound, and what the checks cover where that is less than the equation shows."""
    from ..recipes.format.covers import COVERS
    from ..text import number

    if summary.bound is None:
        return ""
    exact = not summary.differs and not summary.residual and not summary.bound
    relation = ">" if summary.differs else "≤"
    compared = "equal" if exact else f"{number(summary.residual)} {relation} {number(summary.bound)}"
    told = summary.covers in COVERS and summary.holds > 0
    return f"{compared}  {summary.covers} ✓: {COVERS[summary.covers]['en']}" if told else compared


def _print(trace: Trace, found: list[VerdictSummary]) -> None:
    from .. import describe
    from ..describe import MARKS
    from ..text import visible
    from ..trace import schema

    paper = Paper()
    wide = max([len(visible(s.equation)) for s in found] + [8])
    if found:
        head = f"  {'equation':{wide}}  {'hold':>6} {'differ':>6} {'unchecked':>9}  residual against its bound"
        paper.write([(head, "dim")])
    for summary in found:
        verdict = schema.DIFFERS if summary.differs else schema.HOLDS if summary.holds else schema.UNCHECKED
        measured = _measured(summary)
        counts = f"{summary.holds or '':>6} {summary.differs or '':>6} {summary.unchecked or '':>9}"
        line = f"{MARKS[verdict]} {visible(summary.equation):{wide}}  {counts}  {measured}"
        style = {schema.DIFFERS: "bold red", schema.UNCHECKED: "dim"}.get(verdict, "")
        paper.write([(line.rstrip(), style)])
        said = [f"fits: {name} ({count})" for name, count in summary.variants.items()]
        if summary.first is not None:
            said.insert(0, f"first at step {summary.first}, {describe.path(trace, summary.first)}")
        said += [f"{reason} ({count})" for reason, count in list(summary.reasons.items())[:3]]
        for text in said:
            paper.write([(f"    {text}", "dim" if verdict == schema.UNCHECKED else "")])
    paper.flush()
    count = {name: sum(getattr(s, name) for s in found) for name in ("holds", "differs", "unchecked")}
    say(
        f"{count['holds']} checks hold, {count['differs']} differ, {count['unchecked']} could not be made."
        if found
        else _UNCHECKED
    )
