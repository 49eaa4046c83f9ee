"""Exports: one module per format, chosen by the extension of the path or by name."""

from .formats import FORMATS, Format, export

__all__ = ["FORMATS", "Format", "export"]
