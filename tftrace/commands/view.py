"""`tftrace view` opens the debugger in a terminal or a browser."""

from __future__ import annotations

import ctypes
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from cyclopts import Parameter

from ..errors import TraceError
from ..language import spoken, tr
from ..navigate.breakpoints import Breakpoint, parse_breakpoint
from ..terminal import on_screen, say
from ..trace.trace import Trace
from ..tui.start.recent_traces import remember
from ._shared import Patterns, Switch, show_pair, show_trace

_PATIENCE = 0.3  # seconds between attempts to open a trace that does not exist yet
_M_MMAP_THRESHOLD, _LARGE = -3, 1 << 20  # the number of this option in glibc's mallopt; bytes


def view(
    trace: Path,
    other: Path | None = None,
    *,
    break_: Annotated[Patterns, Parameter(name="--break")] = None,
    when: str | None = None,
    step: int | None = None,
    follow: Switch = False,
    web: Switch = False,
    port: int = 8000,
) -> None:
    """Step through a trace in the debugger, or through two traces side by side.

    Two traces open at the first real difference, as `tftrace compare` finds it.

    Parameters
    ----------
    trace
        Folder of the trace.
    other
        A second trace, or what another program wrote: an .npz, a .safetensors or a folder of .npy.
    break_
        Set a breakpoint: a path such as 'encoder.layer.*.attention' (or its end), a class, or a line such as
        modeling_bert.py:175. May be repeated. The debugger opens at the first hit, and c continues to the next.
    when
        Stop only where this condition holds, such as 'nan > 0', 'max > 1e3 and kind = module' or 'verdict = differs'.
    step
        Open at this step.
    follow
        Keep reading while the trace is being written, and wait for it if it does not exist yet.
    web
        Open the debugger in a browser on this machine instead (needs pip install 'tftrace[web]').
    port
        Port for the browser.
    """
    _give_memory_back()
    halts = _breakpoints(break_ or [], when)
    if other is not None:
        if step is not None or follow or web:
            raise TraceError("Two traces side by side take --break and --when: leave the others out.")
        return show_pair(trace, other, halts)
    if web:
        from ..tui.web import serve

        Trace(trace)  # fail here, not in the browser, if this is no trace
        return serve(_arguments(trace, break_ or [], when, step, follow), port)
    found = _wait_for(trace) if follow and on_screen() else Trace(trace, head=on_screen())
    if on_screen() and not len(found):  # the head does not even contain the first forward pass
        found = Trace(trace)
    at = _start_position(found, trace, step, halts)
    remember(trace, found.meta)
    show_trace(found, start=at, breakpoints=halts, follow=follow, remember=True)


def _give_memory_back() -> None:
    """Make freed memory return to the system at once, 45 MB after decoding and sorting a million steps.

    Arrow's own memory pool would keep it, and so would glibc once it has seen a large array freed."""
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _breakpoints(patterns: list[str], when: str | None) -> list[Breakpoint]:
    conditioned = "" if when is None else f" when {when}"
    return [parse_breakpoint(pattern + conditioned) for pattern in patterns or (["*"] if when is not None else [])]


def _start_position(found: Trace, path: Path, step: int | None, halts: list[Breakpoint]) -> int | None:
    """The position to open at, if a step or breakpoint asks for one, which means reading the whole trace."""
    if step is None and not halts:
        return None
    whole = found if found.whole else Trace(path)
    if step is not None:
        if not 0 <= step < len(whole):
            raise TraceError(f"There is no step {step} in {path}: its steps are 0 to {len(whole) - 1}.")
        return step
    from ..navigate.breakpoints import matching_steps

    at = [int(hits.argmax()) for hits in (matching_steps(whole, one) for one in halts) if hits.any()]
    if not at:
        say(tr("No step matches {halts}.", halts=" or ".join(map(str, halts))))
    return min(at, default=None)


def _wait_for(path: Path) -> Trace:
    """Wait until a trace exists and has steps, however long that takes; Ctrl+C ends it."""
    told = False
    while True:
        try:
            found = Trace(path)
            if len(found):
                return found
        except TraceError:
            if path.exists() and not path.is_dir():
                raise
        if not told:
            say(tr("Waiting for the first steps in {path}; Ctrl+C ends this.", path=path))
            told = True
        time.sleep(_PATIENCE)


def _arguments(trace: Path, patterns: list[str], when: str | None, step: int | None, follow: bool) -> list[str]:
    """The command line that textual-serve runs for each browser."""
    words = [sys.executable, "-m", "tftrace", "view", str(trace.absolute()), "--lang", spoken()]
    words += [word for pattern in patterns for word in ("--break", pattern)]
    words += ["--when", when] if when is not None else []
    words += ["--step", str(step)] if step is not None else []
    return words + (["--follow"] if follow else [])
