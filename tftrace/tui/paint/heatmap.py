"""Numbers as coloured cells: one cell per number with its digits, or two cells of a map per character."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from rich.style import Style
from rich.text import Text

from .palette import PALETTES, style

_LEVELS = 48  # colours on each side of zero


def heat(value: float, palette_name: str) -> str:
    """The colour of a value in [-1, 1]; 0 has the background colour, NaN the colour for errors."""
    if value != value:
        return PALETTES[palette_name].bad
    return _heat(round(max(-1.0, min(1.0, value)) * _LEVELS), palette_name)


@lru_cache(maxsize=1024)
def _heat(level: int, palette_name: str) -> str:
    palette = PALETTES[palette_name]
    stops = palette.ramp if level >= 0 else palette.cold
    at = abs(level) / _LEVELS * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    first, second = (_rgb(stops[low]), _rgb(stops[low + 1]))
    mixed = (round(a + (b - a) * (at - low)) for a, b in zip(first, second, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


@lru_cache(maxsize=1024)
def ink(value: float, palette_name: str) -> Style:
    """The style for digits on the colour of a value in [-1, 1], black or white by contrast."""
    ground = heat(value, palette_name)
    red, green, blue = _rgb(ground)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 128
    return style("#000000" if dark else "#ffffff", ground)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def rgb(values: np.ndarray, palette_name: str) -> np.ndarray:
    """The colours of values in [-1, 1], as bytes (red, green, blue) on a new last axis."""
    levels = np.array([_rgb(_heat(level, palette_name)) for level in range(-_LEVELS, _LEVELS + 1)], np.uint8)
    known = np.isfinite(values)
    found = levels[np.round(np.clip(np.where(known, values, 0), -1, 1) * _LEVELS).astype(np.int64) + _LEVELS]
    found[~known] = _rgb(PALETTES[palette_name].bad)
    return found


def half_blocks(values: np.ndarray, palette_name: str) -> list[Text]:
    """A map of values in [-1, 1], two rows per line of characters."""
    height, width = values.shape
    out = []
    for y in range(0, height, 2):
        line = Text(no_wrap=True)
        for x in range(width):
            upper = heat(float(values[y, x]), palette_name)
            lower = heat(float(values[y + 1, x]), palette_name) if y + 1 < height else PALETTES[palette_name].ground
            line.append("▀", style(upper, lower))
        out.append(line)
    return out


def shade(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Scale values to [-1, 1] for `heat`.

    The scale is the signed square root of the value's share of the largest magnitude, so that small values are visible.

    Returns:
        The scaled values, with NaN for what is not finite; the value at the lower end of the scale (0 if none is
        negative); and the largest magnitude.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    top, low = float(np.abs(finite).max(initial=0.0)), float(finite.min(initial=0.0))
    with np.errstate(all="ignore"):
        share = np.where(np.isfinite(values), values / (top or 1.0), np.nan)
        return np.round(np.sign(share) * np.sqrt(np.abs(share)), 2), -top if low < 0 else 0.0, top


def digits(value: float, width: int) -> str:
    """A weight in [0, 1] in at most `width` characters: `.42`, `1.0`, `·` below 0.005."""
    if value != value:
        return "nan"[:width]
    if value < 0.005:
        return "·"
    text = f"{value:.2f}"
    return "1.0" if text == "1.00" else text.removeprefix("0")[:width]


def short_number(value: float, width: int) -> str:
    """A number in at most `width` characters, with up to four digits."""
    for precision in range(min(4, width), 0, -1):
        text = f"{value:.{precision}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
        text = text.replace("-0.", "-.") if text.startswith("-0.") else text.removeprefix("0") if "." in text else text
        if len(text) <= width:
            return text
    return "+" if value > 0 else "-"
