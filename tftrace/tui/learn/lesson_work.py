"""What a station lets one do: record an experiment, show two runs side by side, write a file and have it checked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from textual.app import SuspendNotSupported
from textual.message import Message

from ...errors import TraceError
from ...language import spoken, tr
from ...learn.exercises import write_start
from ...learn.session import LessonSession
from ...trace.trace import Trace
from .. import editor
from ..app import TraceApp
from .lessonpane import Feedback

Wanted = Literal["", "station", "pair", "own", "next"]


class WorkingApp(TraceApp):
    """The debugger with the work of a station; what takes long runs in a thread, also after the station is left.

    Args:
        session: the lesson.
        trace: the run of the station where the session is.

    Attributes:
        wanted: why the app ended: the station has another run, two runs are to be seen side by side, the run of the
            learner's own file is to be seen, or the next lesson is wanted; empty if the user is done.
    """

    @dataclass
    class Done(Message):
        """An experiment, or the check of an exercise, is done, or failed."""

        failure: str = ""

    def __init__(self, session: LessonSession, trace: Trace) -> None:
        super().__init__(trace, spoken())
        self.session = session
        self.wanted: Wanted = ""
        self.feedback: list[Feedback] = []
        self._busy: tuple[int, str] | None = None  # the station that something runs for, and what is said meanwhile

    def show_lesson(self) -> None:
        """Draw the lesson's pane."""
        raise NotImplementedError

    def _tell(self, said: str, kind: str = "") -> None:
        raise NotImplementedError

    def action_do(self) -> None:
        station = self.session.station
        if self._busy:
            return (
                None
                if self._busy[0] == self.session.at
                else self._tell(tr("Something else is still running: wait for it."))
            )
        if station.pair:
            self.wanted = "pair"
            return self.exit()
        if station.experiment is not None:
            command = self.session.command(station.experiment.run) if station.experiment else ""
            self._work(tr("Recording, and comparing: {command} …", command=command), self._experiment)
        elif station.exercise is not None:
            self._check()
        else:
            self._tell(tr("There is nothing to run at this station: w goes on."))

    def _work(self, said: str, work: Callable[[], None]) -> None:
        self._busy, self.feedback = (self.session.at, said), []
        self.session.judged.pop(self.session.at, None)
        self.show_lesson()
        self.run_worker(work, thread=True, group="lesson", exit_on_error=False)

    def _experiment(self) -> None:
        try:
            self.session.run_experiment()
            self.post_message(self.Done())
        except TraceError as error:
            self.post_message(self.Done(failure=str(error)))

    def _check(self) -> None:
        """Check the file of the exercise; where there is none yet, write the one to start from."""
        exercise = self.session.station.exercise
        assert exercise is not None
        if not self.session.file.exists():
            return self.action_write()
        self._work(tr("Running {file} …", file=self.session.file.name), self._exercise)

    def _exercise(self) -> None:
        try:
            self.session.check_exercise()
            self.post_message(self.Done())
        except TraceError as error:
            self.post_message(self.Done(failure=str(error)))

    def on_working_app_done(self, event: Done) -> None:
        self._busy = None
        if event.failure:
            return self._tell(event.failure, "bad")
        self.show_lesson()

    def action_see(self) -> None:
        if self.session.at in self.session.outcomes:
            self.wanted = "pair"
        elif self.session.at in self.session.judged:
            self.wanted = "own"
        else:
            return self._tell(tr("There is nothing to see yet: press X first."))
        self.exit()

    def action_write(self) -> None:
        """Open the learner's file in an editor; where there is none yet, write the one to start from."""
        exercise = self.session.station.exercise
        if exercise is None:
            return self._tell(tr("There is nothing to write at this station: w goes on."))
        file = self.session.file
        try:
            written = write_start(exercise.kind, file, spoken())
            said = tr("Wrote {file} into this folder.", file=file.name) + " " if written else ""
            program = editor.editor()
            with self.suspend():
                subprocess.run(editor.command(program, file, 1), check=False)
        except TraceError as error:
            return self._tell(str(error), "bad")
        except (SuspendNotSupported, OSError):
            return self._tell(said + tr("Open {file} in an editor of yours, then press X.", file=file.name))
        self.refresh(layout=True)
        self._tell(said + tr("X checks it."))
