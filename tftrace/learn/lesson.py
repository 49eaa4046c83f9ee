"""A lesson as plain data: runs, and stations with a place, something to look at, something to try, and a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LANGUAGES = ("en", "zh")
MAIN = "main"  # the run of a lesson that a trace of one's own may take the place of
Words = Mapping[str, str]  # the same text by language

PANES = ("steps", "source", "equation", "tensors")
SUBSTEPS = ("project", "score", "scale and mask", "softmax", "weighted sum")
LOOKS = (*PANES, "attention", "grid", *(f"substep {name}" for name in SUBSTEPS))


@dataclass(frozen=True)
class Run:
    """What is recorded for a lesson, in the words of `tftrace record`.

    Attributes:
        name: the name that stations use; `main` is the run that a trace of the learner's may replace.
        source: a demo such as `demo:bert`; empty if `config` or `of` says what to record.
        of: the run that this one varies: its source, config and text are taken over.
        config: a configuration, with `model_type`, from which a model with random weights is made.
        text: texts to run on; empty for the demo's own.
        settings: fields of the configuration to change, such as `hidden_act=relu`.
        attn: implementation of attention, such as `eager`; empty for the default.
        dtype: data type of the weights; empty for that of the file.
        generate: how many tokens to generate; 0 for one forward pass.
    """

    name: str
    source: str = ""
    of: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    attn: str = ""
    dtype: str = ""
    generate: int = 0


@dataclass(frozen=True)
class Place:
    """Where to go, as something that holds on any model of the kind; what is not given does not matter.

    Attributes:
        role: what the step is for, as `tftrace view A B` names it by role: `attention`, `feed-forward in`, …
        layer: the layer, from 0; negative ones count from the last.
        stack: encoder or decoder.
        step: a pattern as for breakpoints: the end of a path or a class, such as `attention.self`.
        equation: id of an equation that the step is checked against.
        line: a piece of a source line: on to the first line inside of the step that has it.
    """

    role: str = ""
    layer: int | None = None
    stack: str = ""
    step: str = ""
    equation: str = ""
    line: str = ""

    def __str__(self) -> str:
        parts = [self.stack, "" if self.layer is None else f"layer {self.layer}", self.role, self.step]
        parts += [self.equation and f"equation {self.equation}", self.line and f"line with {self.line!r}"]
        return " · ".join(filter(None, parts))


@dataclass(frozen=True)
class Question:
    """A question whose answer is found in the trace by a function that knows its kind.

    Attributes:
        kind: one of the kinds in `learn.questions`.
        ask: the question.
        hint: what helps after a wrong answer.
        given: what the kind needs besides: a token, a tensor, a place …
    """

    kind: str
    ask: Words
    hint: Words
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Another run to record and to compare with the station's own."""

    run: str


@dataclass(frozen=True)
class Exercise:
    """A file that the learner writes.

    Attributes:
        kind: one of the kinds in `learn.exercises`.
        file: its name, in the folder where the learner is.
    """

    kind: str
    file: str


@dataclass(frozen=True)
class Station:
    """One stop of a lesson.

    Attributes:
        title: a few words.
        say: a few sentences.
        places: where to go; the first that the run has counts. Empty: stay.
        run: the run to look at.
        look: what to look at, one of `LOOKS`; empty for nothing in particular.
        attempt: something to try.
        keys: the keys that `attempt` names.
        pair: a run to look at side by side with the station's.
        experiment: another run to record and compare.
        exercise: something to write.
        question: the question; None if there is none.
    """

    title: Words
    say: Words
    places: tuple[Place, ...] = ()
    run: str = MAIN
    look: str = ""
    attempt: Words = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    pair: str = ""
    experiment: Experiment | None = None
    exercise: Exercise | None = None
    question: Question | None = None


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes:
        id: a short name, under which progress is kept.
        number: the number among those that come with tftrace, from 1; 0 for a lesson of somebody else's.
        title: a few words.
        about: one sentence on what one can do afterwards.
        runs: the runs by name, `main` among them.
        stations: the stations in order.
    """

    id: str
    number: int
    title: Words
    about: Words
    runs: Mapping[str, Run]
    stations: tuple[Station, ...]

    @property
    def label(self) -> str:
        """What a command line calls it: its number, else its id."""
        return str(self.number) if self.number else self.id
