"""Maps as bitmaps, by textual-image, in terminals known to support them, drawn over half-block characters.

Terminals are recognised by name. Asking them would be unreliable, because the answer may come late or among the keys.
A terminal that ignores a bitmap still shows the half-blocks."""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from rich.console import Console
from rich.segment import Segment

from ... import describe
from .heatmap import rgb

KITTY, SIXEL = "kitty", "sixel"
_KEPT = 512  # rendered pictures in the cache
_CELL = (10, 20)  # pixels of a cell if unknown: those of the VT340, the reference for Sixel
_KITTY_TERMS = ("xterm-kitty", "xterm-ghostty")
_SIXEL_TERMS = ("foot", "mlterm", "contour")  # prefixes of TERM
_SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "mintty")
_SIXEL_MARKS = ("KONSOLE_VERSION", "WT_SESSION", "XTERM_VERSION")


@dataclass(frozen=True)
class Picture:
    """A picture over some cells.

    Attributes:
        row: Its first row in the content of the pane.
        column: Its first column.
        width: Its width in cells.
        height: Its height in cells.
        sent: Escape sequences to send once the cells are drawn.
        cells: Rows of placeholders that replace the text of the cells, if the protocol needs them.
    """

    row: int
    column: int
    width: int
    height: int
    sent: str
    cells: tuple[tuple[Segment, ...], ...]


@lru_cache(maxsize=1)
def protocol() -> str:
    """The graphics protocol of the terminal: `kitty`, `sixel`, or empty; `TFTRACE_PICTURES` overrides it."""
    env = os.environ.get
    if env("NO_COLOR") or env("TEXTUAL_DRIVER") or find_spec("textual_image") is None:
        return ""
    if forced := env("TFTRACE_PICTURES"):
        return forced if forced in (KITTY, SIXEL) else ""
    if env("TMUX") or env("STY") or sys.__stdout__ is None or not sys.__stdout__.isatty():
        return ""
    term, program = env("TERM", ""), env("TERM_PROGRAM", "")
    if term in _KITTY_TERMS:
        return KITTY
    known = term.startswith(_SIXEL_TERMS) or program in _SIXEL_PROGRAMS or any(env(mark) for mark in _SIXEL_MARKS)
    return SIXEL if known else ""


def picture(values: np.ndarray, palette_name: str, row: int, column: int, width: int, height: int) -> list[Picture]:
    """A picture of values in [-1, 1] over `width` by `height` cells; empty if the terminal cannot show it."""
    if not protocol() or not values.size or width < 1 or height < 1:
        return []
    across, down = _cell_size()
    size = width * across, height * down
    small = describe.shrink(values, size[1], size[0])
    ys, xs = (np.arange(n) * small.shape[axis] // n for axis, n in ((0, size[1]), (1, size[0])))
    pixels = rgb(small, palette_name)[ys][:, xs]
    sent, cells = _render(protocol(), pixels.tobytes(), size, width, height)
    return [Picture(row, column, width, height, sent, cells)]


@lru_cache(maxsize=_KEPT)
def _render(
    kind: str, pixels: bytes, size: tuple[int, int], width: int, height: int
) -> tuple[str, tuple[tuple[Segment, ...], ...]]:
    """The escape sequences and placeholder cells of textual-image for these pixels, cached."""
    with _captured_terminal(size[0] // width, size[1] // height) as captured:
        from PIL import Image
        from textual_image import renderable, widget  # noqa: F401 - the latter looks up the size of a cell

        renderer = renderable.SixelImage if kind == SIXEL else renderable.TGPImage
        image = renderer(Image.frombytes("RGB", size, pixels), width=width, height=height)
        segments = list(Console(file=io.StringIO(), width=width, height=height).render(image))
    if kind == SIXEL:
        return next((one.text for one in segments if one.control and one.text.startswith("\x1bP")), ""), ()
    rows = Segment.split_lines(segments)
    return captured.getvalue(), tuple(tuple(row) for row in rows if row)


class _CapturedTerminal(io.StringIO):
    """A text buffer in place of the terminal, with the terminal's file number for size queries."""

    def fileno(self) -> int:
        return sys.__stdin__.fileno() if sys.__stdin__ else super().fileno()


@contextmanager
def _captured_terminal(across: int, down: int) -> Iterator[io.StringIO]:
    """Replace `sys.__stdout__` by a buffer and set the cell size in the environment.

    Otherwise textual-image would query the terminal and take the user's keys for its answer.
    """
    real, captured = sys.__stdout__, _CapturedTerminal()
    variables = {"TEXTUAL_CELL_WIDTH": str(across), "TEXTUAL_CELL_HEIGHT": str(down)}
    sys.__stdout__ = captured  # type: ignore[misc,assignment]
    os.environ |= variables
    try:
        yield captured
    finally:
        sys.__stdout__ = real  # type: ignore[misc]
        for name in variables:
            os.environ.pop(name, None)


def _cell_size() -> tuple[int, int]:
    """The size of a cell in pixels, width and height."""
    try:
        import fcntl
        import termios

        assert sys.__stdout__ is not None
        answer = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, across, down = struct.unpack("HHHH", answer)
        found = across // columns, down // rows
    except (ImportError, OSError, ValueError, AssertionError, ZeroDivisionError):
        return _CELL
    return found if min(found) > 0 else _CELL
