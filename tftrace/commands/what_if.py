"""`tftrace what-if` runs the model of a trace again with a value changed, and says what became of the answer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..api import Trace, load
from ..errors import TraceError
from ..language import tr
from ..terminal import Paper, console, document, say
from ._edit_options import EditOptions
from ._shared import Force, Output, Switch

if TYPE_CHECKING:
    from ..what_if import Effects

_WHOLE = EditOptions()
_FILES = (".html", ".htm", ".csv", ".json")


def what_if(
    trace: Path,
    step: int | None = None,
    *,
    edit: EditOptions = _WHOLE,
    sweep: Literal["heads", "layers", "tokens", "mlps"] | None = None,
    metric: str | None = None,
    pairs: Switch = False,
    script: str | None = None,
    output: Output = None,
    force: Force = False,
    json: Switch = False,
) -> None:
    """Run the model of a trace again with what a step returns changed, and say what became of the answer.

    With --sweep each head, layer, token or feed-forward part is changed in a run of its own, which is not recorded.

    Parameters
    ----------
    trace
        Folder of the trace. It has to say how its model was loaded, as those of 'tftrace record' do; else --script.
    step
        Number of a call, as 'tftrace show' prints it; with --sweep only what is below it is swept, or of tokens those
        of this step.
    sweep
        Change each of these in turn; by default to zero. A layer that is set to zero is left out.
    metric
        What a sweep measures: label (the change of the probability of the answer), logit:TOKEN (that of a logit), kl
        (in nats) or l2 (relative). By default label, or l2 if the model returns no logits.
    pairs
        Also change each two at once.
    script
        The script and its arguments that the trace was recorded from, such as 'train.py --lr 3e-5'; it is run up to the
        forward pass of the step.
    output
        Keep the run with the change as this trace; of a sweep write a file: .html (a map to share), .csv or .json.
    force
        Replace what is there.
    json
        Print JSON.
    """
    opened = load(trace)
    program = None if script is None else _program(script)
    if sweep is not None:
        return _sweep(opened, step, edit, sweep, metric, pairs, program, output, force, json)
    if metric is not None or pairs:
        raise TraceError("--metric and --pairs belong to a sweep: add --sweep heads, layers, tokens or mlps.")
    if step is None:
        raise TraceError("Name a step, as 'tftrace show' prints it, or what to --sweep.")
    _try(opened, step, edit, program, output, force, json, str(trace))


def _try(
    trace: Trace,
    step: int,
    edit: EditOptions,
    program: Callable[[], None] | None,
    output: Path | None,
    force: bool,
    json: bool,
    name: str,
) -> None:
    from ..export.jsonlines import dumps
    from ..tui.paint.effect_lines import trial_lines
    from ..what_if import what_if as tried

    change = edit.edit()
    found = tried(trace, step, change, output, overwrite=force, program=program, open=Trace)
    if json:
        document([dumps(found.to_dict() | {"output": None if output is None else str(output)}, indent=1), "\n"])
    else:
        _print(trial_lines(found))
    if output is not None:
        say(tr("Next: 'tftrace view {name} {output}' steps through both.", name=name, output=output))


def _sweep(
    trace: Trace,
    step: int | None,
    edit: EditOptions,
    kind: str,
    metric: str | None,
    pairs: bool,
    program: Callable[[], None] | None,
    output: Path | None,
    force: bool,
    json: bool,
) -> None:
    from ..export.jsonlines import dumps
    from ..export.swept import export_effects
    from ..tui.paint.effect_lines import effect_lines
    from ..what_if import sweep

    if output is not None and output.suffix.lower() not in _FILES:
        raise TraceError(f"A sweep cannot be written to {output}: name a file in .html, .csv or .json.")
    change = edit.edit("--zero")
    found = _with_progress(partial(sweep, trace, kind, change, step=step, metric=metric, pairs=pairs, program=program))
    if output is not None:
        export_effects(found, trace, output, overwrite=force)
        say(tr("Wrote {output}.", output=output))
    if json:
        document([dumps(found.to_dict(), indent=1), "\n"])
    else:
        _print(effect_lines(found, Paper().width))


def _print(lines: Iterable[list[tuple[str, str]]]) -> None:
    paper = Paper()
    for line in lines:
        paper.write(line)
    paper.flush()


def _with_progress(run: Callable[..., Effects]) -> Effects:
    """Run a sweep with a progress line in a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    beside = console(beside=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=beside, transient=True, disable=not beside.is_terminal) as progress:
        task = progress.add_task(tr("Running the model"), total=None)
        return run(advance=lambda done, of: progress.update(task, completed=done, total=of))


def _program(script: str) -> Callable[[], None]:
    """Runs the script; its output is not ours."""
    from . import _runner

    try:
        words = shlex.split(script)
    except ValueError as error:
        raise TraceError(f"--script {script!r} cannot be read ({error}): write it as on a command line.") from error
    if not words:
        raise TraceError("--script is empty: name the script that the trace was recorded from.")
    return (
        _runner.module(words[1], words[2:]).run
        if words[0] == "-m" and words[1:]
        else _runner.script(words[0], words[1:]).run
    )
