"""tftrace: step through a transformer's forward pass beside its source and its paper's equations, checked.

with tftrace.record(model, path="run.tftrace") as trace:
    model(**inputs)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import TraceError
from .trace.trace import Trace, load

if TYPE_CHECKING:
    from .capture.recorder import record
    from .capture.traced import traced

__all__ = ["Trace", "TraceError", "load", "record", "traced"]


def load_ipython_extension(shell: object) -> None:
    """`%load_ext tftrace` in a notebook: `%%trace` then records the models that a cell calls."""
    from .notebook import load_ipython_extension

    load_ipython_extension(shell)


def __getattr__(name: str) -> object:
    # Reading a trace must not import torch; recording one must.
    if name == "record":
        from .capture.recorder import record

        return record
    if name == "traced":
        from .capture.traced import traced

        return traced
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
