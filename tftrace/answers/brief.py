"""Cuts texts and rounds numbers, so that an answer is short and has no digit that means nothing."""

from __future__ import annotations

import math
from typing import Any

from ..text import visible

TEXT = 200  # characters of a text in an item
SENTENCE = 400  # characters of a sentence
_DIGITS = 4  # of a statistic


def cut(text: object, most: int = TEXT) -> str:
    """A text of a trace, safe to show and at most `most` characters long; empty for None."""
    said = "" if text is None else visible(str(text)[: most + 1])
    return said if len(said) <= most else f"{said[: max(0, most - 1)]}…"


def rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    """A number with so many significant digits; None for None, NaN and Inf, which JSON does not have."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def as_exact_as(value: float, bound: float) -> float | None:
    """A number without the digits that a bound on its error leaves open."""
    if not math.isfinite(value) or not math.isfinite(bound) or not bound or not value:
        return rounded(value)
    known = math.floor(math.log10(abs(value))) - math.floor(math.log10(bound))
    return rounded(value, min(max(known + 1, 2), 12))


def shorter(value: Any, most: int) -> Any:
    """Plain data with all texts in it cut to `most` characters, and long lists to `most` elements."""
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, dict):
        return {cut(key, most): shorter(inner, most) for key, inner in list(value.items())[:most]}
    if isinstance(value, list):
        return [shorter(inner, most) for inner in value[:most]]
    return value
