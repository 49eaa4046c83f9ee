"""Runs the screens of a lesson one after the other: each run has its own debugger, and so have two side by side."""

from __future__ import annotations

from ...compare import TraceSide
from ...language import spoken, tr
from ...learn.session import LessonSession
from ..app import TraceApp
from ..pair.pairapp import PairApp
from .lesson_pair import RolePairApp
from .lessonapp import LessonApp


class AsideApp(TraceApp):
    """The debugger on a run that a lesson leads to, from which one comes back to it."""

    CSS_PATH = "../app.tcss"

    def begin(self) -> None:
        """Show the first screen, and how to come back."""
        super().begin()
        self.say(tr("q comes back to the lesson."))


def run_lesson(session: LessonSession) -> bool:
    """Open the debugger on a lesson until the user leaves.

    Returns:
        Whether the user wants to go on to the next lesson.

    Raises:
        TraceError: a run cannot be recorded or shown.
    """
    while True:
        app = LessonApp(session, session.trace(session.station.run))
        app.run()
        if app.failure is not None:
            raise app.failure
        if app.wanted in ("", "next"):
            return app.wanted == "next"
        if app.wanted == "pair":
            see_pair(session)
        elif app.wanted == "own":
            own_run(session).run()


def see_pair(session: LessonSession) -> None:
    """Show both runs side by side until the user comes back; in between, a step of either may be opened."""
    app = pair_of(session)
    while (chosen := app.run()) is not None:
        side, position = chosen
        trace = app.sides[side].trace
        if trace is not None:
            AsideApp(trace, spoken(), start=position).run()
        app = pair_of(session)
    if app.failure is not None:
        raise app.failure


def pair_of(session: LessonSession) -> PairApp:
    """The station's run and the other one, side by side."""
    station = session.station
    name = station.experiment.run if station.experiment else station.pair
    outcome = session.outcomes.get(session.at)
    sides = TraceSide(session.trace(station.run)), TraceSide(session.trace(name))
    names = session.command(station.run), session.command(name)
    if station.pair:
        return RolePairApp(*sides, names, spoken(), at=session.position())
    return PairApp(*sides, names, spoken(), found=outcome.compared if outcome else None)


def own_run(session: LessonSession) -> TraceApp:
    """The run of the learner's own file, at the step that the sentences are about."""
    judged, trace = session.judged[session.at]
    return AsideApp(trace, spoken(), start=judged.position)
