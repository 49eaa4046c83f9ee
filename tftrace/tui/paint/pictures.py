"""True pictures of maps, by textual-image, in terminals that are known to show them; half-blocks stay below each.

No terminal is asked what it can: its answer would come late, or among the keys. It is known by its name, and one that
ignores a picture after all still shows the half-blocks."""

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
_KEPT = 512  # pictures remembered as what a terminal is sent
_CELL = (10, 20)  # pixels of a cell where the terminal does not tell: the first terminal with Sixel had these
_KITTY_TERMS = ("xterm-kitty", "xterm-ghostty")
_SIXEL_TERMS = ("foot", "mlterm", "contour")  # and what begins so
_SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "mintty")
_SIXEL_MARKS = ("KONSOLE_VERSION", "WT_SESSION", "XTERM_VERSION")


@dataclass(frozen=True)
class Picture:
    """A picture in the place of some cells: what is sent once these are drawn, and what the cells hold, if not text."""

    row: int
    column: int
    width: int
    height: int
    sent: str
    cells: tuple[tuple[Segment, ...], ...]


@lru_cache(maxsize=1)
def protocol() -> str:
    """`kitty`, `sixel`, or empty where half-blocks have to do; TFTRACE_PICTURES overrules what the name tells."""
    env = os.environ.get
    if env("NO_COLOR") or env("TEXTUAL_DRIVER") or find_spec("textual_image") is None:
        return ""
    if said := env("TFTRACE_PICTURES"):
        return said if said in (KITTY, SIXEL) else ""
    if env("TMUX") or env("STY") or sys.__stdout__ is None or not sys.__stdout__.isatty():
        return ""
    term, program = env("TERM", ""), env("TERM_PROGRAM", "")
    if term in _KITTY_TERMS:
        return KITTY
    known = term.startswith(_SIXEL_TERMS) or program in _SIXEL_PROGRAMS or any(env(mark) for mark in _SIXEL_MARKS)
    return SIXEL if known else ""


def picture(values: np.ndarray, palette_name: str, row: int, column: int, width: int, height: int) -> list[Picture]:
    """`values` (in [-1, 1]) over `width` by `height` cells; none where the terminal shows none."""
    if not protocol() or not values.size or width < 1 or height < 1:
        return []
    across, down = _cell_size()
    size = width * across, height * down
    small = describe.shrink(values, size[1], size[0])
    ys, xs = (np.arange(n) * small.shape[axis] // n for axis, n in ((0, size[1]), (1, size[0])))
    pixels = rgb(small, palette_name)[ys][:, xs]
    sent, cells = _made(protocol(), pixels.tobytes(), size, width, height)
    return [Picture(row, column, width, height, sent, cells)]


@lru_cache(maxsize=_KEPT)
def _made(
    kind: str, pixels: bytes, size: tuple[int, int], width: int, height: int
) -> tuple[str, tuple[tuple[Segment, ...], ...]]:
    """What textual-image would write of these pixels; drawn again without being made again."""
    with _unheard(size[0] // width, size[1] // height) as heard:
        from PIL import Image
        from textual_image import renderable, widget  # noqa: F401 - the latter looks up the size of a cell

        made = renderable.SixelImage if kind == SIXEL else renderable.TGPImage
        image = made(Image.frombytes("RGB", size, pixels), width=width, height=height)
        segments = list(Console(file=io.StringIO(), width=width, height=height).render(image))
    if kind == SIXEL:
        return next((one.text for one in segments if one.control and one.text.startswith("\x1bP")), ""), ()
    rows = Segment.split_lines(segments)
    return heard.getvalue(), tuple(tuple(row) for row in rows if row)


class _Unheard(io.StringIO):
    """Stands for the terminal, which is there only for those who ask for its size."""

    def fileno(self) -> int:
        return sys.__stdin__.fileno() if sys.__stdin__ else super().fileno()


@contextmanager
def _unheard(across: int, down: int) -> Iterator[io.StringIO]:
    """textual-image asks the terminal through `sys.__stdout__` and would read the answer from the user's keys: it is
    told how large a cell is, and what it sends goes out with the cells."""
    real, heard = sys.__stdout__, _Unheard()
    told = {"TEXTUAL_CELL_WIDTH": str(across), "TEXTUAL_CELL_HEIGHT": str(down)}
    sys.__stdout__ = heard  # type: ignore[misc,assignment]
    os.environ |= told
    try:
        yield heard
    finally:
        sys.__stdout__ = real  # type: ignore[misc]
        for name in told:
            os.environ.pop(name, None)


def _cell_size() -> tuple[int, int]:
    """Pixels of a cell, across and down."""
    try:
        import fcntl
        import termios

        assert sys.__stdout__ is not None
        said = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, across, down = struct.unpack("HHHH", said)
        found = across // columns, down // rows
    except (ImportError, OSError, ValueError, AssertionError, ZeroDivisionError):
        return _CELL
    return found if min(found) > 0 else _CELL
