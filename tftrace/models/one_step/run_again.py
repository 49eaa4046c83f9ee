"""Runs the model of a trace again and catches one step of it, with the values of all that its equations name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...capture.recorder import Recorder
from ...errors import TraceError
from ...trace.trace import Trace
from ..load import load_again
from ..quiet import quietly
from .step_capture import CaughtStep, StepCapture, Wanted

_SAME = ("kind", "name", "forward", "occurrence")


Again = Callable[[Path, dict[str, Any]], Trace]  # records a run into a folder, with these options of a Recorder


@contextmanager
def caught_again(trace: Trace, position: int, again: Again | None = None) -> Iterator[tuple[Trace, int, CaughtStep]]:
    """Run the model of a trace again and catch the step at a position.

    Args:
        trace: The trace.
        position: The position of a call of a module, function or op.
        again: Runs again what ran in the trace; by default the model is loaded as the trace says.

    Yields:
        The new trace, which is deleted afterwards, the position of the step in it, and the step.

    Raises:
        TraceError: The model cannot be loaded or fails, or the step does not occur again.
    """
    wanted = Wanted(*(_plain(trace.column(name)[position]) for name in _SAME))
    capture = StepCapture(wanted)
    pattern = re.sub(r"([*?[])", r"[\1]", wanted.name)
    options = {
        "level": str(trace.meta.get("level")),
        "overwrite": False,
        "meta": {},
        "values": [pattern, f"{pattern}.*"] if pattern else ["*"],
        "check": True,
        "watch": capture,
    }
    with TemporaryDirectory(prefix="tftrace-") as folder, quietly():
        place = Path(folder) / "again.tftrace"
        new = (again or partial(_loaded_again, trace))(place, options)
        yield new, _same(trace, position, new), _whole(capture.caught, trace, position)


def with_model(model: Any, run: Callable[[], Any]) -> Again:
    """What runs this model again, as it ran in the trace."""

    def again(path: Path, options: dict[str, Any]) -> Trace:
        try:
            with Recorder(model, path, engine="calls", open=Trace, **options) as found:
                run()
        except TraceError:
            raise
        except Exception as error:  # a model may raise anything
            raise TraceError(f"The model failed as it ran again ({type(error).__name__}).") from error
        return found

    return again


def _loaded_again(trace: Trace, path: Path, options: dict[str, Any]) -> Trace:
    loaded = load_again(trace.meta)
    return with_model(loaded.model, loaded.run)(path, options)


def _same(trace: Trace, position: int, again: Trace) -> int:
    matches = np.ones(len(again), bool)
    for column in _SAME:
        matches &= again.column(column) == trace.column(column)[position]
    if not matches.any():
        raise TraceError(
            "The step is not there when the model runs again: record it anew, and extract from that trace."
        )
    return int(matches.argmax())


def _whole(caught: CaughtStep | None, trace: Trace, position: int) -> CaughtStep:
    what = f"Step {int(trace.column('step')[position])} ({trace.column('type')[position]})"
    if caught is None:
        raise TraceError(f"{what} was not seen as the model ran again: record it anew, and extract from that trace.")
    if caught.problem:
        raise TraceError(f"{what} {caught.problem}: extract a step inside of it, or the call around it.")
    if caught.raised:
        raise TraceError(f"{what} raised an exception: extract the step that it failed in, or one before it.")
    return caught


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
