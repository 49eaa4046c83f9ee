"""`tftrace show` prints a trace as text."""

from __future__ import annotations

from pathlib import Path

from ..trace.trace import load
from ._bounds import WHOLE, Bounds
from ._shared import Switch


def show(trace: Path, *, step: int | None = None, json: Switch = False, bounds: Bounds = WHOLE) -> None:
    """Print the steps of a trace: tree, line, equation, verdict, tensors.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Print everything about this one step.
    json
        Print JSON.
    """
    if bounds.asked:
        from ..answers.step_answer import step_answer
        from ..answers.tree_answer import tree_answer

        opened = load(trace)
        one = step is not None and bounds.depth is None
        bounds.give(lambda: step_answer(opened, step) if one else tree_answer(opened, step, bounds.depth), json)
        return
    from ..show import show as print_steps

    print_steps(load(trace), step, as_json=json)
