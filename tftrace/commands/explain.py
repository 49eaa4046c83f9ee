"""`tftrace explain` derives one number of a run as the terms of its equation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import TraceError
from ..language import tr
from ..terminal import document, tell
from ..trace.missing import must_have_steps
from ..trace.trace import load
from ._shared import Switch

if TYPE_CHECKING:
    from ..explain.explain import Explanation

_MOST = 1000  # terms in JSON
Cell = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Replay = Annotated[bool, Parameter(negative="--no-replay")]


def explain(
    trace: Path,
    step: int,
    *,
    cell: Cell = None,
    equation: str | None = None,
    top: int = 12,
    replay: Replay = True,
    json: Switch = False,
) -> int:
    """Derive one number that a step returned: the terms of its equation with their recorded values, largest first.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Number of the step, as 'tftrace show' prints it.
    cell
        The position of the number along each axis of the returned tensor, such as 0,3,7; negative ones count from the
        end. By default the number that is largest in magnitude.
    equation
        Use this equation if the step has several.
    top
        Print this many terms.
    replay
        Run the forward pass again if the trace has not kept a tensor that is needed.
    json
        Print JSON.
    """
    from ..explain.explain import explain as derive
    from ..explain.replay import replayed
    from ..export.jsonlines import dumps

    opened = load(trace)
    must_have_steps(opened)
    if not 0 <= step < len(opened):
        raise TraceError(f"There is no step {step} in {trace}: its steps are 0 to {len(opened) - 1}.")
    try:
        at = None if cell is None else [int(part) for part in cell.split(",")] if cell.strip() else []
    except ValueError as error:
        raise TraceError(f"There is no cell {cell!r}: name a position along each axis, such as 0,3,7.") from error
    found = derive(opened, step, at, equation=equation, replay=replayed if replay else None)
    if json:
        given = asdict(found) | {"terms": [asdict(term) for term in found.terms[:_MOST]], "matches": found.matches}
        document([dumps(given, indent=1), "\n"])
    else:
        _print(found, max(top, 1))
    return int(not found.terms)


def _print(found: Explanation, top: int) -> None:
    from ..answers.derivation_answer import foot, head, term_line

    out = head(found)
    if not found.terms:
        return tell(*out)
    out += ["", *map(term_line, found.terms[:top])]
    if rest := found.terms[top:]:
        out.append(f"{sum(term.value for term in rest):>+14.7g}  {tr('the other {n} terms', n=len(rest))}")
    tell(*out, "─" * 14, foot(found))
