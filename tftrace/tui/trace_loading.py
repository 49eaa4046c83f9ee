"""Loads the trace: its first steps at once, the rest in a thread, and new steps while it is being recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from textual.worker import get_current_worker

from .. import describe
from ..errors import TraceError
from ..language import tr
from ..navigate import findings, timeline
from ..trace.missing import is_going_on
from ..trace.trace import Trace
from . import session_state
from .session_state import SessionState
from .statusline import StatusLine
from .tree_actions import NavigatingApp

_PAINT = 0.1  # seconds for drawing the first screen, before a thread slows it down
_PATIENCE = 0.5  # seconds between two checks of a trace that is being recorded
_COLUMNS = ("depth", "kind", "name", "type", "status", "file", "line", "end_line", "forward", "rank", "step")


class LoadingApp(NavigatingApp):
    """The part of the app that loads in the background and saves the session."""

    def __init__(self, start: int | None, *, follow: bool, remember: bool) -> None:
        super().__init__()
        self._start, self._follow, self._remember = start, follow, remember
        self.failure: TraceError | None = None

    def begin(self) -> None:
        """Show the first screen and start loading the rest."""
        if self.trace.whole:
            self._loaded(first=True)
        else:
            self.query_one(StatusLine).reading = "reading the rest …"
            self.go(0)
        if self._follow or not self.trace.whole:
            self.set_timer(_PAINT, self._read_on)

    def _read_on(self) -> None:
        self.run_worker(self._read, thread=True, name="reading")

    # -- in a thread, which must touch the screen only by messages ---------------------------------------

    def _read(self) -> None:
        worker, path = get_current_worker(), self.trace.path
        whole, seen = self.trace.whole, _file_sizes(path)
        while not worker.is_cancelled:
            began = time.monotonic()
            if not whole or _file_sizes(path) != seen:
                seen = _file_sizes(path)
                try:
                    fresh = prepare(path, partial(self.call_from_thread, self._progress) if not whole else None)
                except TraceError as error:
                    if not whole:
                        self.call_from_thread(self._fail, error)
                    return
                self.call_from_thread(self._replace_trace, fresh, not whole)
                whole = True
                if not is_going_on(fresh.meta):
                    return
            elif not self._follow:
                return
            wait = max(_PATIENCE, 3 * (time.monotonic() - began))  # leave most of the time to the screen
            while wait > 0 and not worker.is_cancelled:
                time.sleep(min(0.1, wait))
                wait -= 0.1

    def _progress(self, share: float) -> None:
        line = self.query_one(StatusLine)
        line.reading = f"reading the rest {share:.0%}"
        line.show(self.position, self.search_text)

    def _fail(self, error: TraceError) -> None:
        self.failure = error
        self.exit(return_code=2)

    # -- in the thread of the screen --------------------------------------------------------------------

    def _replace_trace(self, fresh: Trace, first: bool) -> None:
        """Take over a longer version of the trace; the current step stays the same, unless it is the last one."""
        old = self.trace
        at_end = not first and self.position == len(old) - 1
        kept = [session_state.step_key(old, at) for at in (self.position, *self._jumps)]
        folds = [session_state.step_key(old, at) for at in self.outline.folded]
        old.become(fresh)
        here, *jumps = session_state.positions(old, kept)
        self._jumps = [at for at in jumps if at is not None]
        self.position = len(old) - 1 if at_end else here or 0
        self.outline.forget()
        self.outline.fold([at for at in session_state.positions(old, folds) if at is not None])
        self.breakpoints.forget()
        self.search_again()
        self.query_one(StatusLine).read(old)
        self._loaded(first)

    def _loaded(self, first: bool) -> None:
        """Update the screen after loading; the first time, restore the session."""
        self.query_one(StatusLine).reading = self._recording_status()
        self.read_notes()
        message = ""
        if first:
            kept = session_state.load(self.trace) if self._remember else SessionState()
            self.breakpoints.all = [*kept.breakpoints, *self.breakpoints.all]
            self.breakpoints.wrong, self.breakpoints.designed = kept.wrong, kept.designed
            self.outline.fold([at for at in session_state.positions(self.trace, kept.folds) if at is not None])
            back = session_state.positions(self.trace, [kept.step])[0] if kept.step else None
            if self._start is not None:
                self.position = self._start
            elif back and not self.position:
                self.position, message = back, self._resumed(back, kept)
        self.halts_changed()
        self.go(self.position)
        if message:
            self.say(message)

    def _resumed(self, back: int, kept: SessionState) -> str:
        """Where the session goes on, what came with it, and how to begin anew."""
        folds, stops = len(kept.folds), len(kept.breakpoints)
        back_at = tr("Back at step {step}, where you left; g starts over at step 0.", step=back)
        extra = tr("Folds: {folds}, breakpoints: {stops}.", folds=folds, stops=stops) if folds or stops else ""
        return f"{back_at} {extra}".rstrip()

    def _recording_status(self) -> str:
        return "following …" if self._follow and is_going_on(self.trace.meta) else ""

    def keep(self) -> None:
        """Save the session."""
        if self._remember and self.trace.whole:
            folds = [session_state.step_key(self.trace, at) for at in self.outline.folded]
            here = session_state.step_key(self.trace, self.position)
            stops = self.breakpoints
            session_state.save(self.trace, SessionState(here, folds, stops.all, stops.wrong, stops.designed))

    def on_unmount(self) -> None:
        self.keep()


def prepare(path: Path, progress: Callable[[float], None] | None = None) -> Trace:
    """Load a trace and cache all that the first keys need; `progress` receives the share done, from 0 to 1."""
    trace = Trace(path)
    work: list[Callable[[], object]] = [partial(trace.column, name) for name in _COLUMNS]
    work += [partial(found, trace) for found in (findings.wrong, findings.alarming, describe.totals)]
    work += [
        partial(trace.bounds, "tensors"),
        partial(trace.bounds, "checks"),
        partial(session_state.positions, trace, []),
    ]
    if len(trace):
        work += [partial(trace.tensors_of, 0), partial(timeline.measured, trace, 0, 1, 1, timeline.MEASURES[0])]
    for at, one in enumerate(work):
        if progress is not None:
            progress(at / len(work))
        one()
    return trace


def _file_sizes(path: Path) -> tuple[int, ...]:
    """The sizes of the files of a trace, which change while it is being recorded."""
    files = sorted(path.glob("rank-*/*.arrow"))
    sizes = []
    for file in (*files, path / "meta.json"):
        try:
            sizes.append(file.stat().st_size if file.suffix == ".arrow" else file.stat().st_mtime_ns)
        except OSError:
            sizes.append(0)
    return tuple(sizes)
