"""Exports: one file a format, found by the extension of the path or by its name."""

from .formats import FORMATS, Format, export

__all__ = ["FORMATS", "Format", "export"]
