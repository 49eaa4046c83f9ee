"""Edits: what a run is to compute otherwise, as plain data; `capture.edit` carries them out."""

from .changes import Edit, Edits, Part, call, from_trace, mean, noise, scale, set_to, zero

__all__ = ["Edit", "Edits", "Part", "call", "from_trace", "mean", "noise", "scale", "set_to", "zero"]
