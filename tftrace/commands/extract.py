"""`tftrace extract` writes one step of a run as a test that runs alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import TraceError
from ..language import tr
from ..language.retell import retold
from ..terminal import document, say, tell
from ..trace.trace import load
from . import _runner
from ._program import recorded_program
from ._shared import Force, Switch

if TYPE_CHECKING:
    from ..models.one_step.run_again import Again
    from ..trace.trace import Trace

Folder = Annotated[Path, Parameter(name=["--output", "-o"])]
Script = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


def extract(
    trace: Path,
    step: int,
    *,
    output: Folder,
    script: Script = None,
    with_text: Switch = False,
    force: Force = False,
    json: Switch = False,
) -> None:
    """Write one step of a run as a test that runs alone, without tftrace: its code, inputs, weights and result.

    The test fails where the run failed, and says the same.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Number of the step, as 'tftrace show' prints it: a call of a module or function, or an op.
    output
        Folder to write.
    script
        Run this program again to have the values, as 'tftrace run' ran it, such as 'train.py --lr 3e-5'; for a trace
        that 'tftrace record' made, the model is loaded again, or its kept values are taken.
    with_text
        Let texts and tokens go along.
    force
        Replace a folder that this command wrote.
    json
        Print JSON.
    """
    from ..export.jsonlines import dumps
    from ..extract.said import before_it, summary
    from ..extract.taking_out import extract as take_out

    opened = load(trace)
    if not 0 <= step < len(opened):
        has = f"its steps are 0 to {len(opened) - 1}" if len(opened) else "it has no steps"
        raise TraceError(f"There is no step {step} in {trace}: {has}.")
    found = take_out(
        opened,
        step,
        output,
        again=None if script is None else _program_again(script),
        overwrite=force,
        with_text=with_text,
        before=lambda coming: say(before_it(coming, output)),
    )
    if json:
        document([dumps(summary(found, output), indent=1), "\n"])
        return
    for note in found.notes:
        say(retold(note))
    tell(*(retold(verdict) for verdict in found.verdicts))
    say(
        tr(
            "Wrote {folder}: its test fails, as the run did."
            if found.fails
            else "Wrote {folder}: 'pytest {folder}' runs it.",
            folder=shlex.quote(str(output)),
        )
    )


def _program_again(script: str) -> Again:
    """Runs a program again, recorded as `tftrace run` records it."""

    def again(path: Path, options: dict[str, Any]) -> Trace:
        words = shlex.split(script)
        if not words:
            raise TraceError("--script names nothing: give a program and its arguments, such as --script train.py.")
        program = _runner.module(words[1], words[2:]) if words[0] == "-m" and words[1:] else None
        program = program or _runner.script(words[0], words[1:])
        return recorded_program(program, path, options)

    return again
