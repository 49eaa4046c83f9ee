"""The one way from this package to a terminal.

A trace, a recipe or a path may be a stranger's: an escape in it must not set the terminal's title, move its cursor or
hide a line. So no text is printed but by what is here, and all of it goes through `text.visible` here, whoever wrote it
and whether or not its writer thought of that:

- `say`: a sentence beside the result, on standard error; `tell`: lines of the result, on standard output;
- `Paper`: lines in colours; `console`: what rich lays out, tables and progress;
- `document`: text with line ends of its own, as JSON has them;
- `data`: the bytes of an export on standard output, exact where that is a file.

Colours survive, as they are added after a text was made visible. Only where text wants a width (a column, a cut) must
its writer make it visible earlier, which changes nothing here. To forget is hard: `tests/commands/test_terminal.py`
refuses `print`, `sys.stdout`, `sys.stderr` and rich's `Console` anywhere else in the package, and looks at the bytes
that commands write of forged traces. Beside this, `TraceError` makes its own sentence safe, since Python prints it
too, and the screen (`tui`) has `tui.screened`, by the same rule."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO, TextIO, cast

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .errors import TraceError
from .text import visible, visible_lines

Part = tuple[str, str]  # text and its style
_WIDTH = 100  # columns where the stream is not a terminal


def say(sentence: str) -> None:
    """Tell the user, beside what the command prints."""
    print(visible(sentence), file=_able(sys.stderr))


def tell(*lines: str) -> None:
    """Print lines of the result."""
    document(f"{visible(line)}\n" for line in lines)


def document(parts: Iterable[str], out: TextIO | None = None) -> None:
    """Print text that has its own line ends, to `out` (default: standard output)."""
    stream = _able(out)
    stream.writelines(map(visible_lines, parts))
    stream.flush()


def on_screen() -> bool:
    """Whether there is a terminal to draw on, or a browser (textual-serve says so by its driver)."""
    return (sys.stdin.isatty() and sys.stdout.isatty()) or bool(os.environ.get("TEXTUAL_DRIVER"))


def finish() -> None:
    """Hand over what waits in standard output; else only Python, as it ends, would tell that there is no room."""
    sys.stdout.flush()


def reader_left() -> None:
    """Whoever read standard output has seen enough, as `head` has: what else is printed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def padded(text: str, width: int) -> str:
    """A text filled up with spaces to `width` cells, of which a Chinese character takes two; a negative width puts it
    at the right edge."""
    room = " " * max(0, abs(width) - cell_len(text))
    return room + text if width < 0 else text + room


class Paper:
    """A stream with colours where it is a terminal that wants them, and plain text elsewhere."""

    def __init__(self, out: TextIO | None = None, width: int | None = None) -> None:
        self._stream = _able(out)
        self._console = console(self._stream)
        self._plain = not self._console.is_terminal
        self._around: dict[str, Part] = {"": ("", "")}
        self.width = max(40, width or (_WIDTH if self._plain else self._console.width))

    def write(self, line: Iterable[Part]) -> None:
        """Print one line."""
        parts = [(visible(said), style) for said, style in line]
        if self._plain:
            self._stream.write("".join(said for said, _ in parts).rstrip() + "\n")
        else:
            self._stream.write("".join(said.join(self._codes(style)) for said, style in parts) + "\n")

    def flush(self) -> None:
        """Hand on what was printed."""
        self._stream.flush()

    def _codes(self, style: str) -> Part:
        """What a terminal is sent around a text: asked of rich once, for printing each line with it is slow."""
        if style not in self._around:
            with self._console.capture() as captured:
                self._console.print(Text("|", style), end="")
            before, _, after = captured.get().partition("|")
            self._around[style] = (before, after)
        return self._around[style]


def console(out: TextIO | None = None, *, beside: bool = False) -> Console:
    """A console of rich on `out` (default: standard output, or `beside` it standard error)."""
    stream = _able(sys.stderr if beside and out is None else out)
    return _Console(file=stream, highlight=False, markup=False, emoji=False)


def recorder(width: int) -> Console:
    """A console that prints nowhere and keeps what it was given, in true colours, for a picture of it."""
    return _Console(
        file=io.StringIO(), width=width, record=True, force_terminal=True, color_system="truecolor",
        legacy_windows=False, highlight=False, markup=False, emoji=False, soft_wrap=True,
    )  # fmt: skip


class _Console(Console):
    """What it prints is visible before it is laid out; what moves the cursor is rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)


def data(binary: bool = False) -> BinaryIO:
    """Standard output for the bytes of an export: as they are into a file, visible to a terminal or a pipe, which may
    lead to one. `binary` bytes are no text, and a pipe has them as they are; TraceError says so before a terminal."""
    sys.stdout.flush()
    raw = cast(BinaryIO, sys.stdout.buffer)
    if binary and sys.stdout.isatty():
        raise TraceError("This format is not text, so no terminal can show it: name a file, or send it into one.")
    return raw if binary or _is_file(raw) else cast(BinaryIO, _Visible(raw))


class _Visible(io.RawIOBase):
    """A stream of UTF-8 bytes, whose text is made visible."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._raw.write(visible_lines(self._decoder.decode(bytes(content))).encode())
        return len(content)

    def flush(self) -> None:
        self._raw.flush()


def _is_file(stream: BinaryIO) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False


def _able(out: TextIO | None) -> TextIO:
    """A stream (default: standard output) that does not fail at a character which it cannot encode."""
    stream = sys.stdout if out is None else out
    if isinstance(stream, io.TextIOWrapper) and (stream.encoding or "").lower().replace("-", "") != "utf8":
        stream.reconfigure(errors="replace")
    return stream
