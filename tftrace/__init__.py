"""Step through a transformer's forward pass beside its source and its paper's equations, checked on the live numbers.

Example:
    with tftrace.record(model, path="run.tftrace") as trace:
        model(**inputs)
    trace.to_csv("run.csv")

PYTEST_DONT_REWRITE, or pytest warns under `tftrace run` that this was imported before its plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import TraceError

__all__ = [
    "Trace",
    "TraceError",
    "breakpoint",
    "call",
    "from_trace",
    "load",
    "mean",
    "noise",
    "record",
    "scale",
    "set_to",
    "traced",
    "zero",
]
_EDITS = ("call", "from_trace", "mean", "noise", "scale", "set_to", "zero")

if TYPE_CHECKING:
    from .api import Trace, breakpoint, load, record, traced
    from .edits import call, from_trace, mean, noise, scale, set_to, zero
else:

    def __getattr__(name: str) -> object:
        """What reads and records traces is loaded as it is used: every run of pytest imports this file."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import api, edits

        globals()[name] = found = getattr(edits if name in _EDITS else api, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def load_ipython_extension(shell: object) -> None:
    """Register the cell magic `%%trace`; IPython calls this for `%load_ext tftrace`."""
    from .notebook import load_ipython_extension

    load_ipython_extension(shell)
