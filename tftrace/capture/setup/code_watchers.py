"""The watchers of code and ops between module calls, which start and stop with the forwards of a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from ...trace.writer import TraceWriter
from ..recording import Recording
from ..watch.frames import Settrace, source_of_frames
from ..watch.lines import LineTracer
from ..watch.ops import OpMode
from ..watch.program import ProgramHooks
from ..watch.tape_mode import TapeMode
from ..watch.traced_functions import Functions
from ..watch.watched_modules import WatchedModules

TAKEN = "A tool took the interpreter's trace function while the model ran: steps are missing."


class Watcher(Protocol):
    """Something that starts and stops with the forwards of a thread."""

    def start(self) -> bool: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class CodeWatchers:
    """Follows functions and lines, and lets modes be added that see torch functions.

    Args:
        recording: The recording; from now on its forwards start and stop the watchers.
        engine: Sees the calls of modules.
        functions: Sees the calls of traced functions.
        writer: Writes the trace.
        lines: Whether lines are steps, too.
        lost: Takes sentences about what cannot be recorded.

    Attributes:
        every: The watchers, in the order in which they start.
    """

    def __init__(
        self,
        recording: Recording,
        engine: WatchedModules,
        functions: Functions,
        writer: TraceWriter,
        lines: bool,
        lost: list[str],
    ) -> None:
        self._engine, self._lost = engine, lost
        self._told: list[Callable[[torch.nn.Module, bool], None]] = []
        tracer = LineTracer(recording, engine, writer, lines=lines)
        frames, self._missing = source_of_frames(tracer)
        lost += self._missing
        self.every: list[Watcher] = [frames] if frames is not None else []
        if isinstance(frames, Settrace):
            recording.tracing, recording.set_trace = frames.function, frames.set
        functions.follow, functions.wants = tracer.follow, tracer.wants
        if frames is not None:
            tracer.again = frames.again
            if isinstance(engine, ProgramHooks):
                engine.on_adopted = frames.again
        recording.on_root = self._switch

    def add(self, mode: TapeMode | OpMode) -> None:
        """Add a mode, which is also told of modules as they begin and end."""
        self.every.append(mode)
        self._told.append(mode.on_module)
        self._engine.on_module = self._told[0] if len(self._told) == 1 else self._tell

    def _tell(self, module: torch.nn.Module, entering: bool) -> None:
        for one in self._told:
            one(module, entering)

    def _switch(self, entering: bool) -> None:
        for watcher in self.every:
            if entering and not watcher.start() and not self._missing:
                self._missing.append(TAKEN)
                self._lost.append(TAKEN)
            elif not entering:
                watcher.stop()
