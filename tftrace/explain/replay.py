"""Runs a forward pass again with all values of one step kept, from the model and inputs named in the trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..errors import TraceError
from ..trace.trace import Trace

_SAME = ("kind", "name", "forward", "occurrence", "rank")


@contextmanager
def replayed(trace: Trace, position: int) -> Iterator[tuple[Trace, int]]:
    """Run the model of a trace again and keep the values of the call at `position`.

    Yields:
        The new trace, which is deleted afterwards, and the position of the call in it.

    Raises:
        TraceError: The model cannot be loaded or fails, or the call does not occur in the new run.
    """
    if not isinstance(trace.meta.get("source"), str):
        raise TraceError("the trace does not say which model it was.")
    with TemporaryDirectory(prefix="tftrace-") as folder:
        again = _record_again(trace, position, Path(folder) / "again.tftrace")
        matches = np.ones(len(again), bool)
        for column in _SAME:
            matches &= again.column(column) == trace.column(column)[position]
        if not matches.any():
            raise TraceError("the step is not there when the model runs again.")
        yield again, int(matches.argmax())


def _record_again(trace: Trace, position: int, path: Path) -> Trace:
    """Load the model of a trace, run it, and record it to `path`."""
    from ..capture.recorder import Recorder
    from ..models.load import load_again
    from ..models.quiet import quietly

    name = re.sub(r"([*?[])", r"[\1]", str(trace.column("name")[position]))
    values = [name, f"{name}.*"] if name else ["*"]
    with quietly():
        loaded = load_again(trace.meta)
        try:
            with Recorder(
                loaded.model, path, str(trace.meta.get("level")), False, {}, values=values, check=True, open=Trace
            ) as again:
                loaded.run()
        except TraceError:
            raise
        except Exception as error:  # a model may raise anything
            raise TraceError(f"it failed ({type(error).__name__}).") from error
    return again
