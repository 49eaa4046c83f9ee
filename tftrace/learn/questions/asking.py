"""Reads the question of a station, and answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import TraceError
from ..lesson import Question, Run
from ..places import read_place
from ..reading import Table
from .asked import Asked
from .kinds import KINDS, NEEDS, STATISTICS
from .right_answer import Answer

_MOST = 100_000  # rows of an attention


def read_question(
    table: Table, runs: Mapping[str, Run], *, experiment: bool = False, exercise: bool = False
) -> Question | None:
    """The question in a table; None if its kind is not known.

    Args:
        table: the table.
        runs: the runs of the lesson.
        experiment: whether the station has an experiment.
        exercise: whether the station has an exercise.
    """
    name = table.choice("kind", tuple(KINDS), need=True)
    ask, hint = table.words("ask", need=True), table.words("hint", need=True)
    if name not in KINDS:
        return None
    kind = KINDS[name]
    there = {"": True, "experiment": experiment, "exercise": exercise}
    if not there[kind.after]:
        table.wrong(f"a question of kind {name!r} needs a station with an {kind.after}.", "kind")
    given = {key: value for key in (*kind.needs, *kind.takes) if (value := _given(table, key)) is not None}
    for key in kind.needs:
        if not table.has(key):
            table.wrong(f"a question of kind {name!r} needs {key}.")
    table.end()
    return Question(name, ask, hint, given)


def _given(table: Table, key: str) -> Any:
    if not table.has(key):
        return None
    if NEEDS[key] == "place":
        inner = table.table(key)
        return None if inner is None else read_place(inner)
    if NEEDS[key] == "statistic":
        return table.choice(key, STATISTICS) or None
    if NEEDS[key] == "text":
        return table.text(key)
    return table.number(key, -9 if NEEDS[key] == "axis" else 0, 9 if NEEDS[key] == "axis" else _MOST)


def answer(question: Question, asked: Asked) -> Answer:
    """The right answer, from the trace.

    Raises:
        TraceError: this run cannot answer it; the sentence says why.
    """
    try:
        return KINDS[question.kind].find(asked)
    except TraceError as error:
        raise TraceError(f"This run cannot answer: {error}") from error
