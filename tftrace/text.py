"""Text that came from a trace, a recipe or a model, made safe to show, and numbers made short.

A trace may be a stranger's: a name in it must not be able to move the cursor or hide a line."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def visible(text: str) -> str:
    """`text` with control and invisible characters written as escapes (``\\x1b``); tabs become spaces."""
    if text.isprintable():
        return text
    out = []
    for char in text.replace("\t", "    "):
        if unicodedata.category(char) in _UNSAFE:
            out.append(char.encode("unicode_escape").decode())
        else:
            out.append(char)
    return "".join(out)


def visible_lines(text: str) -> str:
    """`text` with all but its line ends and tabs made visible."""
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def number(value: float | None) -> str:
    """A statistic in at most nine characters: `0.0123`, `-4.1`, `3.2e-07`, `nan`; empty for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == int(value) and size < 1e5:
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= size < 1e5 else f"{value:.2e}"


def shape(sizes: Iterable[int]) -> str:
    """`1×128×768`; `scalar` for a tensor without dimensions."""
    return "×".join(map(str, sizes)) or "scalar"


def duration(nanoseconds: int | None) -> str:
    """`1.25 ms`, with the unit that leaves one to three digits before the point."""
    if nanoseconds is None:
        return ""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"
