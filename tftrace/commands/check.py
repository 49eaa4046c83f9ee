"""`tftrace check` prints the verdicts of a run and gives scripts an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..language import tr
from ..language.retell import retold
from ..navigate.difference_kinds import BY_DESIGN
from ..terminal import Paper, document, padded, say
from ..trace import schema
from ..trace.missing import must_have_steps
from ..trace.trace import load
from ._bounds import WHOLE, Bounds
from ._shared import Switch

if TYPE_CHECKING:
    from ..navigate.accepted import Accepted
    from ..navigate.verdict_summary import VerdictSummary
    from ..trace.trace import Trace

_SIZES = (6, 6, 6, 9)  # columns of the counts
_STYLES = {schema.DIFFERS: "bold red", BY_DESIGN: "yellow", schema.UNCHECKED: "dim"}


def check(
    trace: Path,
    *,
    strict: Switch = False,
    accept: Path | None = None,
    write_accept: Path | None = None,
    json: Switch = False,
    bounds: Bounds = WHOLE,
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
    from ..answers.verdict_answer import verdict_answer
    from ..export.jsonlines import dumps
    from ..navigate import accepted
    from ..navigate.nonfinite import origins
    from ..navigate.verdict_summary import summaries

    opened = load(trace)
    must_have_steps(opened)
    wanted = accepted.NOTHING if accept is None else accepted.read(accept)
    if bounds.asked:
        if write_accept is not None:
            _write_accept(opened, wanted, write_accept)
        return bounds.give(lambda: verdict_answer(opened, wanted, strict=strict, depth=bounds.depth), json)
    found = summaries(opened, wanted)
    if json:
        document([dumps([s.to_dict() | {"mark": describe.MARKS[s.verdict]} for s in found], indent=1), "\n"])
    else:
        _print(opened, found)
    for sentence in describe.nan_lines(opened):
        say(tr("NaN or Inf was made: {sentence}", sentence=retold(sentence)))
    for entry in wanted.unused(opened):
        say(tr("Nothing is left to accept of {entry}: take it out of {accept}.", entry=entry, accept=accept))
    if write_accept is not None:
        _write_accept(opened, wanted, write_accept)
    counted = sum(summary.wrong + (summary.design_left if strict else 0) for summary in found)
    return int(bool(counted or origins(opened).found))


def _print(trace: Trace, found: list[VerdictSummary]) -> None:
    from ..answers.verdict_answer import UNCHECKED, measured, said_of, totals
    from ..describe import MARKS, mode
    from ..text import visible

    paper = Paper()
    if running := mode(trace):
        paper.write([(tr("mode: {mode}", mode=retold(running)), "yellow")])
    wide = max([len(visible(s.equation)) for s in found] + [8])
    if found:
        words = (tr("hold"), tr("differ"), tr("design"), tr("unchecked"))
        counts = " ".join(padded(word, -size) for word, size in zip(words, _SIZES, strict=True))
        head = f"  {padded(tr('equation'), wide)}  {counts}  {tr('residual against its bound')}"
        paper.write([(head, "dim")])
    for summary in found:
        mistakes = summary.differs - summary.design
        numbers = (summary.holds, mistakes, summary.design, summary.unchecked)
        counts = " ".join(f"{count or '':>{size}}" for count, size in zip(numbers, _SIZES, strict=True))
        line = f"{MARKS[summary.verdict]} {visible(summary.equation):{wide}}  {counts}  {measured(summary)}"
        style = _STYLES.get(summary.verdict, "") if summary.accepted < summary.differs or not summary.differs else ""
        paper.write([(line.rstrip(), style)])
        for text in said_of(trace, summary):
            paper.write([(f"    {text}", "dim" if summary.verdict == schema.UNCHECKED else "")])
    paper.flush()
    say(totals(found) if found else tr(UNCHECKED))


def _write_accept(trace: Trace, wanted: Accepted, target: Path) -> None:
    from ..export.target import into_file
    from ..navigate.accepted import draft

    def write(stream: BinaryIO) -> None:
        stream.write(draft(trace, wanted.rows(trace) < 0).encode())

    into_file(target, write, overwrite=False)
    say(tr("Wrote {target}: say in it of each difference why it is wanted, or take it out.", target=target))
