"""The terminal interface: panes for steps, source, equation and tensors of one trace, driven by keys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import TraceApp, run

__all__ = ["TraceApp", "run"]


def __getattr__(name: str) -> Any:
    """What opens a trace, when it is first asked for: the start screen does without."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(import_module(".app", __name__), name)
