"""Records a program: it runs unchanged, and once it has imported torch, every model that it calls is recorded."""

from __future__ import annotations

import bdb
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capture.process import launched
from ..errors import TraceError
from ..language import tr
from ..language.retell import retold
from ..trace.disk.folder import check_folder
from ..trace.disk.replace import remove
from ..trace.disk.whole_trace import check_whole
from ..trace.trace import Trace
from . import _runner
from ._imported import when_imported
from ._recording import summarize
from ._shared import free_name
from ._threads import wait_for_threads

if TYPE_CHECKING:
    from ..capture.recorder import Recorder


def record_program(
    program: _runner.Program, path: Path | None, options: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Run a program to its end and record the models that it calls.

    Args:
        program: the program.
        path: folder of the trace; by default named after the program.
        options: arguments for a Recorder.
        say: prints a sentence for the user.

    Raises:
        TraceError: the trace cannot be written there.
        SystemExit: always, with the program's exit code.
    """
    rank, world, launch = launched()
    stem = Path(program.name).stem
    path = path or (
        Path(f"{stem}.tftrace") if world > 1 else free_name(stem, options["overwrite"])
    )  # processes of one launch must all choose the same name
    check_folder(path, options["overwrite"], rank=rank, launch=launch)  # a bad path should fail before the program runs
    recording = _Recording(program, path, options, say)
    process = os.getpid()
    when_imported("torch", recording.begin)
    code: Any = 0
    error: BaseException | None = None
    try:
        program.run()
    except SystemExit as left:
        code = left.code
    except bdb.BdbQuit as quitted:  # in the debugger that --pause opened, or the program's own
        error, code = quitted, 1
    except BaseException as raised:
        error, code = raised, 130 if isinstance(raised, KeyboardInterrupt) else 1
        sys.excepthook(
            type(raised), raised.with_traceback(_runner.program_traceback(raised.__traceback__)), raised.__traceback__
        )
    if os.getpid() == process:  # not in a child that the program forked
        wait_for_threads()
        recording.end(error)
    sys.exit(code)


def recorded_program(program: _runner.Program, path: Path, options: dict[str, Any]) -> Trace:
    """Run a program to its end, recorded, whatever its exit code.

    Args:
        program: the program.
        path: folder of the trace.
        options: arguments for a Recorder.

    Raises:
        TraceError: the program raised an exception, or called no model.
    """
    recording = _Recording(program, path, options, lambda sentence: None)
    when_imported("torch", recording.begin)
    error: BaseException | None = None
    try:
        program.run()
    except SystemExit:
        pass
    except Exception as raised:
        error = raised
    wait_for_threads()
    recording.end(error)
    if error is not None:
        raise TraceError(f"{program.name} failed as it ran again ({type(error).__name__}: {error}).") from error
    if recording.trace is None or not len(recording.trace):
        raise TraceError(f"{program.name} called no model as it ran again: name the program that the trace is of.")
    return recording.trace


class _Recording:
    """The recording of a program, which begins when the program imports torch."""

    def __init__(
        self, program: _runner.Program, path: Path, options: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self._say, self._shown = say, path
        self._program, self._path, self._options = program, path.absolute(), options
        self._recorder: Recorder[Trace] | None = None
        self.trace: Trace | None = None
        self._failed = False

    def begin(self) -> None:
        """Begin recording; if that fails, warn and let the program run on."""
        from ..capture.recorder import Recorder

        try:
            recorder = Recorder(None, self._path, open=Trace, **self._options)
            self.trace = recorder.__enter__()
            self._recorder = recorder
        except (TraceError, OSError) as error:
            self._failed = True
            warnings.warn(f"tftrace does not record this: {error}", RuntimeWarning, stacklevel=2)

    def end(self, error: BaseException | None) -> None:
        """End the recording and report the result."""
        recorder, trace = self._recorder, self.trace
        if recorder is None or trace is None:
            if not self._failed:
                self._say(tr("{name} did not import torch: nothing was recorded.", name=self._program.name))
            return
        recorder.__exit__(None if error is None else type(error), error, None)
        if launched().world > 1:
            return  # other processes may still be writing; the launcher reports for all
        try:
            self._sum_up(trace, recorder)
        except TraceError as problem:  # the exit code is still the program's
            self._say(retold(str(problem)))

    def _sum_up(self, trace: Trace, recorder: Recorder[Trace]) -> None:
        left_out = recorder.left_out()
        if len(trace):
            self._say(summarize(trace, self._shown))
        elif recorder.unwritten is not None:
            self._say(tr("Nothing was recorded, as {unwritten}.", unwritten=retold(recorder.unwritten)))
        else:
            if recorder.there:
                with suppress(TraceError, OSError):  # the program has put something of its own there
                    remove(self._path, check_whole)
            pattern = self._options["choice"].model_class
            called = tr(
                "{name} called no model that fits {pattern!r}: nothing was recorded."
                if pattern
                else "{name} called no model: nothing was recorded.",
                name=self._program.name,
                pattern=pattern,
            )
            self._say(tr("Nothing was recorded.") if left_out else called)
        for sentence in left_out:
            self._say(retold(sentence))
        if len(trace):
            self._say(tr("Next: 'tftrace view {shown}' steps through it.", shown=self._shown))
