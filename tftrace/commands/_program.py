"""Recording a program: it runs as without us, and from its import of torch on every model that it calls is recorded."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capture.process import launched
from ..errors import TraceError
from ..trace.disk.folder import check_folder
from ..trace.disk.replace import remove
from ..trace.disk.whole_trace import check_whole
from ..trace.trace import Trace
from . import _runner
from ._imported import when_imported
from ._recording import summed_up
from ._shared import free_name
from ._threads import wait_for_threads

if TYPE_CHECKING:
    from ..capture.recorder import Recorder


def record_program(
    program: _runner.Program, path: Path | None, options: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Run a program to its end and record what models it calls; leaves by SystemExit with the program's exit code.

    `options` are those of a Recorder."""
    rank, world, launch = launched()
    stem = Path(program.name).stem
    path = path or (
        Path(f"{stem}.tftrace") if world > 1 else free_name(stem, options["overwrite"])
    )  # the same name in each process
    check_folder(path, options["overwrite"], rank=rank, launch=launch)  # a bad path should cost no wait
    recording = _Recording(program, path, options, say)
    process = os.getpid()
    when_imported("torch", recording.begin)
    code: Any = 0
    error: BaseException | None = None
    try:
        program.run()
    except SystemExit as left:
        code = left.code
    except BaseException as raised:
        error, code = raised, 130 if isinstance(raised, KeyboardInterrupt) else 1
        sys.excepthook(type(raised), raised.with_traceback(_runner.below(raised.__traceback__)), raised.__traceback__)
    if os.getpid() == process:  # not in a child that the program forked
        wait_for_threads()
        recording.end(error)
    sys.exit(code)


class _Recording:
    """The recording of a program, which begins with the program's import of torch."""

    def __init__(
        self, program: _runner.Program, path: Path, options: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self._say, self._shown = say, path
        self._program, self._path, self._options = program, path.absolute(), options
        self._recorder: Recorder[Trace] | None = None
        self._trace: Trace | None = None
        self._failed = False

    def begin(self) -> None:
        """Begin to record. Where that fails the program runs on without."""
        from ..capture.recorder import Recorder

        try:
            recorder = Recorder(None, self._path, open=Trace, **self._options)
            self._trace = recorder.__enter__()
            self._recorder = recorder
        except (TraceError, OSError) as error:
            self._failed = True
            warnings.warn(f"tftrace does not record this: {error}", RuntimeWarning, stacklevel=2)

    def end(self, error: BaseException | None) -> None:
        """End the recording and say what came of it."""
        recorder, trace = self._recorder, self._trace
        if recorder is None or trace is None:
            if not self._failed:
                self._say(f"{self._program.name} did not import torch: nothing was recorded.")
            return
        recorder.__exit__(None if error is None else type(error), error, None)
        if launched().world > 1:
            return  # others may still write: of all of them speaks who launched them
        try:
            self._sum_up(trace, recorder)
        except TraceError as problem:  # the exit code is the program's all the same
            self._say(str(problem))

    def _sum_up(self, trace: Trace, recorder: Recorder[Trace]) -> None:
        left_out = recorder.left_out()
        if len(trace):
            self._say(summed_up(trace, self._shown))
        elif recorder.unwritten is not None:
            self._say(f"Nothing was recorded, as {recorder.unwritten}.")
        else:
            if recorder.there:
                with suppress(TraceError, OSError):  # the program has put something of its own there
                    remove(self._path, check_whole)
            pattern = self._options["choice"].model_class
            which = f"no model that fits {pattern!r}" if pattern else "no model"
            self._say(
                "Nothing was recorded." if left_out else f"{self._program.name} called {which}: nothing was recorded."
            )
        for sentence in left_out:
            self._say(sentence)
        if len(trace):
            self._say(f"Next: 'tftrace view {self._shown}' steps through it.")
