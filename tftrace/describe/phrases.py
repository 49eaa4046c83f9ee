"""Small words that every description uses: marks, safe text, the numbers of a row."""

from __future__ import annotations

import io
from typing import Any

from rich.text import Text

from ..terminal import console
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace

MARKS = {schema.HOLDS: "✓", schema.DIFFERS: "✗", schema.UNCHECKED: "·"}
ROLE_MARKS = {
    schema.INPUT: "→",
    schema.OUTPUT: "←",
    schema.LOCAL: "=",
    schema.PARAMETER: "θ",
    schema.GRADIENT: "∂",
}
LANGUAGES = ("en", "zh")

_RULER = console(io.StringIO())  # wrapping by cells asks for a console, though nothing is printed on it


def text(value: Any) -> str:
    """A text from meta.json, safe to show; empty for anything that is not a text."""
    return visible(value) if isinstance(value, str) else ""


def wrapped(said: str, width: int) -> list[str]:
    """`said` on lines of at most `width` cells."""
    return [line.plain.rstrip() for line in Text(said).wrap(_RULER, max(8, width))] if said else []


def base_name(file: str | None) -> str:
    """The last part of a file's path, on whatever system it was recorded."""
    return visible((file or "").replace("\\", "/").rsplit("/", 1)[-1])


def integer(trace: Trace, name: str, position: int, missing: int = 0) -> int:
    """A number of a step's row; `missing` where the trace has none."""
    value = trace.column(name)[position]
    return missing if value is None or value != value else int(value)
