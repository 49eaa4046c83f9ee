"""A lesson that is being taken: its runs, recorded when they are needed, the answers, and how far the learner is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..compare import Comparison, TraceSide, compare_runs
from ..errors import TraceError
from ..language import tr
from ..trace.trace import Trace
from . import progress
from .exercise_words import place_text, told
from .exercises import Judged, judge_exercise
from .lesson import MAIN, Lesson, Station
from .lesson_runs import Recording, exercise_recording, recording_of
from .places import find_place
from .questions import Answer, Asked, answer

Record = Callable[[Recording], Path]  # records a run, if it is not there yet, and says where


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment: the other run, and how it compares."""

    trace: Trace
    compared: Comparison


def must_fit(lesson: Lesson, on: Trace) -> None:
    """Raise TraceError if none of a lesson's places is in a trace."""
    own = [one for one in lesson.stations if one.run == MAIN and one.places]
    if not own or all(find_place(on, one.places) is None for one in own):
        place = place_text(own[0].places[0]) if own else MAIN
        name, label = on.path.name, lesson.label
        raise TraceError(
            tr("Lesson {label} does not fit {name}, which has no {place}: take it without --on.",
               label=label, name=name, place=place)
        )  # fmt: skip


class LessonSession:
    """One lesson on its runs.

    Args:
        lesson: the lesson.
        record: what records a run.
        on: the learner's own trace, in the place of the run `main`.
        file: the learner's file for an exercise, in the place of the lesson's name for it.
    """

    def __init__(self, lesson: Lesson, record: Record, on: Trace | None = None, file: Path | None = None) -> None:
        self.lesson, self.on, self._record, self._file = lesson, on, record, file
        self._traces: dict[str, Trace] = {} if on is None else {MAIN: on}
        self.outcomes: dict[int, Outcome] = {}
        self.judged: dict[int, tuple[Judged, Trace]] = {}
        undone = [at for at in range(len(lesson.stations)) if at not in progress.done(lesson)]
        self.at = undone[0] if undone else 0

    @property
    def station(self) -> Station:
        """The station where the learner is."""
        return self.lesson.stations[self.at]

    def known(self, name: str) -> bool:
        """Whether a run is at hand without recording it."""
        return name in self._traces

    def trace(self, name: str) -> Trace:
        """A run of the lesson; it is recorded if it is not there yet."""
        if name not in self._traces:
            self._traces[name] = Trace(self._record(recording_of(self.lesson, name, self.on)))
        return self._traces[name]

    def command(self, name: str) -> str:
        """The command that records a run, as the learner would type it."""
        return recording_of(self.lesson, name, self.on).command

    def position(self) -> int | None:
        """The step that the station is about; None if the run has none."""
        return find_place(self.trace(self.station.run), self.station.places) if self.station.places else 0

    def unfit(self) -> str:
        """Why the station does not fit its run; empty if it does."""
        if self.position() is not None:
            return ""
        return tr(
            "This run has no {place}, so there is nothing to see at this station: w goes on.",
            place=place_text(self.station.places[0]),
        )

    # -- doing things ------------------------------------------------------------------------------------------

    def run_experiment(self) -> Outcome:
        """Record the other run of the station, and compare."""
        at, station = self.at, self.station  # the learner may go on meanwhile
        other = self.trace(station.experiment.run if station.experiment else station.pair)
        here = self.trace(station.run)
        self.outcomes[at] = Outcome(other, compare_runs(TraceSide(here), TraceSide(other)))
        return self.outcomes[at]

    @property
    def file(self) -> Path:
        """The file of the station's exercise."""
        name = self.station.exercise.file if self.station.exercise else ""
        return self._file if self._file is not None else Path(name)

    def check_exercise(self) -> list[str]:
        """Run the learner's file, and judge it; the sentences on it."""
        at, exercise = self.at, self.station.exercise
        if exercise is None:
            return []
        trace = Trace(self._record(exercise_recording(self.file)))
        judged = judge_exercise(exercise.kind, trace)
        self.judged[at] = (judged, trace)
        if judged.earned:
            self.mark(at)
        return told(judged)

    # -- questions ---------------------------------------------------------------------------------------------

    def right_answer(self, position: int | None = None) -> Answer | None:
        """The right answer to the station's question; None if it has none.

        Raises:
            TraceError: this run cannot answer it.
        """
        question, at = self.station.question, self.position()
        if question is None:
            return None
        if at is None:
            raise TraceError(self.unfit())
        outcome, judged = self.outcomes.get(self.at), self.judged.get(self.at)
        given = {**question.given, "earned": bool(judged and judged[0].earned)}
        trace = self.trace(self.station.run)
        asked = Asked(trace, at, given, outcome.trace if outcome else None, outcome.compared if outcome else None)
        return answer(question, asked)

    def try_answer(self, typed: str) -> bool:
        """Whether an answer is right; a right one marks the station as done."""
        right = self.right_answer()
        if right is None or not (right.done if right.done is not None else right.accepts(typed)):
            return False
        self.mark()
        return True

    def mark(self, at: int | None = None) -> None:
        """Remember that a station is done: this one, or another."""
        progress.mark_done(self.lesson, self.at if at is None else at)

    @property
    def done(self) -> set[int]:
        """The stations that have been done."""
        return progress.done(self.lesson)

    @property
    def is_done(self) -> bool:
        """Whether the station has been done."""
        return self.at in self.done
