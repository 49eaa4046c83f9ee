"""The report: a run in one HTML file to hand on, with line, equation, numbers, verdict and notes of each step."""

from .page import write

__all__ = ["write"]
