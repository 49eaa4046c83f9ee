"""Edits each part of a model in turn, or two at once, and measures what becomes of the answer, without a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from ...edits import Edit
from ...edits.changes import SKIP, ZERO
from ...errors import TraceError
from .answer_rows import Answers, Metric
from .runs_again import Rerun
from .sweep_units import Unit

_MOST = 100_000  # runs of one sweep


@dataclass(frozen=True)
class Effect:
    """What an edit did to the answer: the change of the metric, and whether another word or label is the likeliest."""

    effect: float
    flips: bool
    said: str


@dataclass(frozen=True)
class Swept:
    """The effects of a sweep.

    Attributes:
        metric: The name of the metric.
        before: The likeliest words without an edit, with their probabilities; empty without logits.
        units: What was edited.
        effects: The effect of each unit.
        pairs: Of two units at once, by their indices.
        runs: How often the model ran.
    """

    metric: str
    before: list[tuple[str, float]]
    units: list[Unit]
    effects: list[Effect]
    pairs: Mapping[tuple[int, int], Effect]
    runs: int


def sweep(
    runs: Rerun,
    units: Sequence[Unit],
    make: Callable[[str], Edit],
    *,
    kind: str,
    metric: str | None = None,
    pairs: bool = False,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Swept:
    """Edit each unit, and with `pairs` each two of them, in a run of its own.

    Args:
        runs: The model and its input.
        units: What to edit.
        make: Gives the change of a module of this path; its part becomes that of the unit. A layer that is set to zero
            is left out: its input goes on.
        kind: The kind of sweep.
        metric: How an effect is measured; see `Answers.metric`.
        pairs: Whether to edit each two units as well.
        advance: Called with the number of runs done, and of all.

    Raises:
        TraceError: There is no such metric, or an edit cannot be made.
    """
    total = len(units) + 1 + (len(units) * (len(units) - 1) // 2 if pairs else 0)
    if total > _MOST:
        raise TraceError(f"That would take {total} runs of the model: sweep less of it, or leave --pairs out.")
    answers = Answers(runs)
    before, logits = answers.rows(runs.run())
    name, measure = answers.metric(metric, logits)
    done = 1

    def tried(*chosen: int) -> Effect:
        nonlocal done
        edits: dict[str, list[Edit]] = {}
        for at in chosen:
            edits.setdefault(_exactly(units[at].name), []).append(_of(make(units[at].name), units[at], kind))
        after, _ = answers.rows(runs.with_edits(edits))
        done += 1
        advance(done, total)
        return _effect(answers, measure, before, after, logits)

    single = [tried(at) for at in range(len(units))]
    double = {pair: tried(*pair) for pair in combinations(range(len(units)), 2)} if pairs else {}
    words = answers.words(before) if logits else []
    return Swept(name, words, list(units), single, double, done)


def _of(edit: Edit, unit: Unit, kind: str) -> Edit:
    """The edit of one unit."""
    if kind == "layers" and edit.what == ZERO:
        return replace(edit, what=SKIP)
    part = replace(
        edit.part,
        heads=edit.part.heads if unit.head is None else (unit.head,),
        tokens=edit.part.tokens if unit.token is None else (unit.token,),
    )
    return replace(edit, part=part)


def _effect(answers: Answers, measure: Metric, before: torch.Tensor, after: torch.Tensor, logits: bool) -> Effect:
    if before.shape != after.shape:
        raise TraceError("The answer has another shape than before: sweep a single forward pass.")
    if not logits:
        return Effect(measure(before, after), False, "")
    flips = bool((before.argmax(-1) != after.argmax(-1)).any())
    word, share = answers.words(after)[0]
    return Effect(measure(before, after), flips, f"{word} {share:.4f}")


def _exactly(name: str) -> str:
    """A pattern that fits this name only."""
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
