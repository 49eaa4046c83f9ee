"""`tftrace check` prints the verdicts of a run and gives scripts an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..navigate.difference_kinds import BY_DESIGN
from ..terminal import Paper, document, say
from ..trace import schema
from ..trace.trace import load
from ._shared import Switch

if TYPE_CHECKING:
    from ..navigate.accepted import Accepted
    from ..navigate.verdict_summary import VerdictSummary
    from ..trace.trace import Trace

_UNCHECKED = (
    "No equation was checked in this run: none that is known describes a step of it ('tftrace recipes' lists them, "
    "--recipes takes yours), or checks were off (by --no-check; at level modules they are on with --check only)."
)

_STYLES = {schema.DIFFERS: "bold red", BY_DESIGN: "yellow", schema.UNCHECKED: "dim"}


def check(
    trace: Path,
    *,
    strict: Switch = False,
    accept: Path | None = None,
    write_accept: Path | None = None,
    json: Switch = False,
) -> int:
    """Print the verdicts on the equations of a run; the exit code is 1 if any differs (✗), or if NaN or Inf was made.

    What differs as other models do on purpose (△) counts with --strict only.

    Parameters
    ----------
    trace
        Folder of the trace.
    strict
        Exit with 1 for differences by design (△), too.
    accept
        File of differences that are known and wanted; they are shown, and do not count.
    write_accept
        Write such a file of all differences that are not accepted yet, for you to say why each is wanted.
    json
        Print JSON.
    """
    from .. import describe
    from ..export.jsonlines import dumps
    from ..navigate import accepted
    from ..navigate.nonfinite import origins
    from ..navigate.verdict_summary import summaries

    opened = load(trace)
    wanted = accepted.NOTHING if accept is None else accepted.read(accept)
    found = summaries(opened, wanted)
    if json:
        document([dumps([s.to_dict() | {"mark": describe.MARKS[s.verdict]} for s in found], indent=1), "\n"])
    else:
        _print(opened, found)
    for sentence in describe.nan_lines(opened):
        say(f"NaN or Inf was made: {sentence}")
    for entry in wanted.unused(opened):
        say(f"Nothing is left to accept of {entry}: take it out of {accept}.")
    if write_accept is not None:
        _write_accept(opened, wanted, write_accept)
    counted = sum(summary.wrong + (summary.design_left if strict else 0) for summary in found)
    return int(bool(counted or origins(opened).found))


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
    from ..describe import MARKS, mode
    from ..text import visible

    paper = Paper()
    if running := mode(trace):
        paper.write([(f"mode: {running}", "yellow")])
    wide = max([len(visible(s.equation)) for s in found] + [8])
    if found:
        counts = f"{'hold':>6} {'differ':>6} {'design':>6} {'unchecked':>9}"
        head = f"  {'equation':{wide}}  {counts}  residual against its bound"
        paper.write([(head, "dim")])
    for summary in found:
        mistakes = summary.differs - summary.design
        counts = f"{summary.holds or '':>6} {mistakes or '':>6} {summary.design or '':>6} {summary.unchecked or '':>9}"
        line = f"{MARKS[summary.verdict]} {visible(summary.equation):{wide}}  {counts}  {_measured(summary)}"
        style = _STYLES.get(summary.verdict, "") if summary.accepted < summary.differs or not summary.differs else ""
        paper.write([(line.rstrip(), style)])
        for text in _said(trace, summary):
            paper.write([(f"    {text}", "dim" if summary.verdict == schema.UNCHECKED else "")])
    paper.flush()
    say(_totals(found) if found else _UNCHECKED)


def _said(trace: Trace, summary: VerdictSummary) -> Iterator[str]:
    """What is said below an equation: where it differs first, which variants fit, what is accepted, and why."""
    from .. import describe

    if summary.first is not None:
        yield f"first at step {summary.first}, {describe.path(trace, summary.first)}"
    for name, count in summary.variants.items():
        yield f"fits: {name} ({count}{', by design' if summary.kinds[name] == schema.DESIGN else ''})"
    if summary.accepted:
        yield f"accepted ({summary.accepted}): {'; '.join(summary.why)}"
    yield from (f"{reason} ({count})" for reason, count in list(summary.reasons.items())[:3])


def _totals(found: list[VerdictSummary]) -> str:
    holds, differs, design, unchecked, accepted = (
        sum(getattr(s, name) for s in found) for name in ("holds", "differs", "design", "unchecked", "accepted")
    )
    by_design = f", {design} differ by design" if design else ""
    wanted = f" ({accepted} accepted)" if accepted else ""
    return f"{holds} checks hold, {differs - design} differ{by_design}{wanted}, {unchecked} could not be made."


def _write_accept(trace: Trace, wanted: Accepted, target: Path) -> None:
    from ..export.target import into_file
    from ..navigate.accepted import draft

    def write(stream: BinaryIO) -> None:
        stream.write(draft(trace, wanted.rows(trace) < 0).encode())

    into_file(target, write, overwrite=False)
    say(f"Wrote {target}: say in it of each difference why it is wanted, or take it out.")
