"""A forward run again, with all values of one step kept, from what the trace says of its model and inputs."""

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
    """The same run with the values of the call at `position` kept, and where that call stands in it.

    Raises TraceError where the model cannot be loaded again, or the run was another one."""
    if not isinstance(trace.meta.get("source"), str):
        raise TraceError("the trace does not say which model it was.")
    with TemporaryDirectory(prefix="tftrace-") as folder:
        again = _recorded(trace, position, Path(folder) / "again.tftrace")
        fitting = np.ones(len(again), bool)
        for column in _SAME:
            fitting &= again.column(column) == trace.column(column)[position]
        if not fitting.any():
            raise TraceError("the step is not there when the model runs again.")
        yield again, int(fitting.argmax())


def _recorded(trace: Trace, position: int, path: Path) -> Trace:
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
        except Exception as error:  # whatever a model raises
            raise TraceError(f"it failed ({type(error).__name__}).") from error
    return again
