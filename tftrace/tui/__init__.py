"""The terminal interface: panes for steps, source, equation and tensors of one trace, driven by keys."""

from .app import TraceApp, run

__all__ = ["TraceApp", "run"]
