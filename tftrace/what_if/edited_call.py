"""Which call of a run an edit of a step is about, by its name and number, and what of it another run gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..compare.alignment import forward_tokens, token_pairs
from ..edits import Edit
from ..edits.changes import FROM
from ..errors import TraceError
from ..trace import schema
from ..trace.trace import Trace


def edited_call(trace: Trace, step: int, edit: Edit, alone: bool = False) -> dict[str, Edit]:
    """An edit for the one call that a step is, as `record(edits=)` takes it.

    Args:
        trace: The run.
        step: The position of the call.
        edit: The edit.
        alone: Whether only the forward of the step is run again.

    Raises:
        TraceError: There is no such step, or it is no call.
    """
    if not 0 <= step < len(trace):
        has = f"its steps are 0 to {len(trace) - 1}" if len(trace) else "it has no steps"
        raise TraceError(f"There is no step {step} in {trace.path}: {has}.")
    kind, name = trace.column("kind")[step], str(trace.column("name")[step] or "")
    if kind not in schema.CALLS:
        raise TraceError(f"Step {step} is a {kind}: edit its call, step {trace.call_of(step)}.")
    return {exactly(name): replace(edit, calls=frozenset({call_number(trace, step, alone)}))}


def call_number(trace: Trace, step: int, alone: bool = False) -> int:
    """How many calls of the same name came before a step; `alone`: in its own forward."""
    same = np.ones(step, bool)
    for column in ("kind", "name", "rank", *(["forward"] if alone else [])):
        same &= trace.column(column)[:step] == trace.column(column)[step]
    return int(same.sum())


def exactly(name: str) -> str:
    """A glob pattern that fits this name only."""
    return re.sub(r"([*?[])", r"[\1]", name)


@contextmanager
def patches(
    trace: Trace, other: Trace, edit: Edit, names: list[str], forward: int = 0
) -> Iterator[Callable[[str], Edit]]:
    """Make edits that take values from another run, whose tokens meet those of this one as in a comparison.

    If the other run has not kept what its steps returned, it is run again with these values kept.

    Args:
        trace: The run that is edited.
        other: The other run.
        edit: What the edits have in common.
        names: The names of the steps whose values are needed.
        forward: The number of the forward in both runs.

    Yields:
        A function that gives the edit of a step of this name.

    Raises:
        TraceError: The other run has no such step, or cannot be run again.
    """
    with ExitStack() as stack:
        if not all(_kept(other, name) for name in names):
            folder = stack.enter_context(TemporaryDirectory(prefix="tftrace-"))
            other = _again(other, names, Path(folder) / "other.tftrace")
        meet = {inside: _meeting(trace, other, forward, inside) for inside in (False, True)}
        yield lambda name: replace(edit, what=FROM, source=other, meet=meet["encoder" in name.split(".")])


def _kept(trace: Trace, name: str) -> bool:
    steps = [step for step in trace.find(exactly(name)) if step.name == name]
    if not steps:
        raise TraceError(f"{trace.path.name} has no step {name}: compare two runs of the same model.")
    below = [step for step in trace.find(f"{exactly(name)}.*") if step.depth <= steps[0].depth + 3]
    rows = [row for step in (steps[0], *below) for row in step.tensors if row.role in (schema.OUTPUT, schema.INPUT)]
    return all(row.value is not None for row in rows if "float" in row.dtype)


def _again(trace: Trace, names: list[str], path: Path) -> Trace:
    """Record the other run again with the values of some steps, and of what is right below them."""
    from ..capture.recorder import Recorder
    from ..models.trials.runs_again import rerun

    again = rerun(trace)
    wanted = [pattern for name in names for pattern in (exactly(name), f"{exactly(name)}.*")] or ["*"]
    recorder = Recorder(again.models, path, "functions", False, {}, values=wanted, check=False, open=Trace)
    with recorder as recorded:
        again.run()
    return recorded


def _meeting(trace: Trace, other: Trace, forward: int, encoder: bool) -> dict[int, int] | None:
    """Which token of the other run stands where one of this run does, in the first row; None if nothing is known."""
    sides = [forward_tokens.forwards(one, [forward]) for one in (trace, other)]
    rows = [token_pairs.rows(found, encoder) for found in sides]
    if encoder and not all(rows):
        rows = [token_pairs.rows(found) for found in sides]
    if not all(rows):
        return None
    slots = token_pairs.slots(rows[0], rows[1], [(0, 0)])
    return {int(here): int(there) for here, there in zip(slots.left[:, 2], slots.right[:, 2], strict=True)}
