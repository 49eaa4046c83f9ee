"""Text from traces, recipes and models made safe to show, and numbers made short.

A trace may come from a stranger, so a name in it must not move the cursor or hide a line."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8, as words of a command line that were other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible(text: str) -> str:
    """Escape control and invisible characters (``\\x1b``) and replace tabs by spaces."""
    if text.isprintable():
        return text
    out = []
    for char in text.replace("\t", "    "):
        if unicodedata.category(char) in _UNSAFE:
            out.append(char.encode("unicode_escape").decode())
        else:
            out.append(char)
    return "".join(out)


def readable(token: object) -> str:
    """A token as it is shown: safe, and with `␣` for the mark of a space before a word, `Ġ` or `▁`."""
    said = visible(token) if isinstance(token, str) else "?"
    return "␣" + said[1:] if said[:1] in ("Ġ", "▁") else said


def visible_lines(text: str) -> str:
    """Escape control and invisible characters except line ends and tabs."""
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def number(value: float | None) -> str:
    """Format a statistic in at most nine characters: `0.0123`, `-4.1`, `3.2e-07`, `nan`; empty for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if value == int(value) and size < 1e5:
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= size < 1e5 else f"{value:.2e}"


def shape(sizes: Iterable[int]) -> str:
    """Format a shape: `1×128×768`, or `scalar` for a tensor without dimensions."""
    return "×".join(map(str, sizes)) or "scalar"


def duration(nanoseconds: int | None) -> str:
    """Format nanoseconds with a suitable unit: `1.25 ms`; empty for None."""
    if nanoseconds is None:
        return ""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"
