"""tftrace: step through a transformer's forward pass beside its source and its paper's equations, checked.

with tftrace.record(model, path="run.tftrace") as trace:
    model(**inputs)
"""

from __future__ import annotations

from .api import Trace, load, record, traced
from .errors import TraceError

__all__ = ["Trace", "TraceError", "load", "record", "traced"]


def load_ipython_extension(shell: object) -> None:
    """`%load_ext tftrace` in a notebook: `%%trace` then records the models that a cell calls."""
    from .notebook import load_ipython_extension

    load_ipython_extension(shell)
