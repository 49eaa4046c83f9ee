"""The HTML report: a run in one file to pass on, with the line, equation, numbers, verdict and note of each step."""

from .page import write

__all__ = ["write"]
