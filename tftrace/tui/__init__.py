"""The screen: four panes over one trace (steps, source, equation, tensors), driven by keys that go both ways."""

from .app import TraceApp, run

__all__ = ["TraceApp", "run"]
