"""Small helpers for descriptions: marks, safe text, numbers of a row."""

from __future__ import annotations

import io
from typing import Any

from rich.text import Text

from ..navigate.difference_kinds import BY_DESIGN
from ..terminal import console
from ..text import visible
from ..trace import schema
from ..trace.trace import Trace

MARKS = {schema.HOLDS: "✓", BY_DESIGN: "△", schema.DIFFERS: "✗", schema.UNCHECKED: "·"}
ROLE_MARKS = {
    schema.INPUT: "→",
    schema.OUTPUT: "←",
    schema.LOCAL: "=",
    schema.PARAMETER: "θ",
    schema.GRADIENT: "∂",
}
LANGUAGES = ("en", "zh")

_RULER = console(io.StringIO())  # rich needs a console to wrap by cells; nothing is printed on it


def text(value: Any) -> str:
    """A text from meta.json, safe to show; empty for any other value."""
    return visible(value) if isinstance(value, str) else ""


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells."""
    return [line.plain.rstrip() for line in Text(text).wrap(_RULER, max(8, width))] if text else []


def base_name(file: str | None) -> str:
    """The last part of a file's path, recorded on any system."""
    return visible((file or "").replace("\\", "/").rsplit("/", 1)[-1])


def integer(trace: Trace, name: str, position: int, missing: int = 0) -> int:
    """An integer of a step, from the column `name`; `missing` if it has none."""
    value = trace.column(name)[position]
    return missing if value is None or value != value else int(value)
