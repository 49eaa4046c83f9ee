"""Step through a transformer's forward pass beside its source and its paper's equations, checked on the live numbers.

Example:
    with tftrace.record(model, path="run.tftrace") as trace:
        model(**inputs)
    trace.to_csv("run.csv")
"""

from __future__ import annotations

from .api import Trace, load, record, traced
from .errors import TraceError

__all__ = ["Trace", "TraceError", "load", "record", "traced"]


def load_ipython_extension(shell: object) -> None:
    """Register the cell magic `%%trace`; IPython calls this for `%load_ext tftrace`."""
    from .notebook import load_ipython_extension

    load_ipython_extension(shell)
