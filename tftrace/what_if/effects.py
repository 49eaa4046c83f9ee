"""The effects of a sweep: each part of a model edited in turn, and what became of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..edits import Edit
from ..edits.changes import FROM, ZERO
from ..errors import TraceError
from ..trace import schema, tokens
from ..trace.trace import Trace
from .edited_call import exactly, patches

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class EffectOf:
    """The effect of one edit, or of two at once.

    Attributes:
        name: The name of the module, or the names of both.
        label: How it is called in a map, such as `layer.0.attention.self head 1`.
        row: Its row in the map; of two, of the first.
        column: Its column there; None where a row is one module.
        token: The token that was edited, in a sweep of tokens; else empty.
        effect: The change of the metric.
        flips: Whether another word or label is the likeliest.
        said: The likeliest one with its probability; empty without logits.
    """

    name: str
    label: str
    row: str
    column: int | None
    token: str
    effect: float
    flips: bool
    said: str


@dataclass(frozen=True)
class Effects:
    """The effects of a sweep.

    Attributes:
        sweep: What was edited: `heads`, `layers`, `tokens` or `mlps`.
        edit: What was done, such as `zero`.
        metric: What was measured: `logit:TOKEN` (its change), `label` (the change of the probability of the answer
            without edits), `kl` (in nats) or `l2` (relative).
        before: The likeliest words or labels without an edit, with their probabilities.
        effects: The effect of each part.
        pairs: With `pairs`, of each two of them, by their indices in `effects`.
        runs: How often the model ran.
    """

    sweep: str
    edit: str
    metric: str
    before: list[tuple[str, float]]
    effects: list[EffectOf]
    pairs: Mapping[tuple[int, int], EffectOf]
    runs: int

    @property
    def rows(self) -> list[str]:
        """The labels of the rows of the map."""
        return list(dict.fromkeys(one.row for one in self.effects))

    def matrix(self) -> np.ndarray:
        """The map of effects: [rows, columns], NaN where there is no such part."""
        rows = {row: at for at, row in enumerate(self.rows)}
        columns = 1 + max((one.column or 0 for one in self.effects), default=0)
        found = np.full((len(rows), columns), np.nan)
        for one in self.effects:
            found[rows[one.row], one.column or 0] = one.effect
        return found

    def blocks(self) -> list[tuple[list[str], list[str], np.ndarray]]:
        """The map in blocks of rows that have the same columns: labels of rows and of columns, and the effects."""
        words: dict[str, list[str]] = {}
        for one in self.effects:
            words.setdefault(one.row, []).append(one.token or ("" if one.column is None else str(one.column)))
        whole, found = self.matrix(), dict[tuple[str, ...], list[int]]()
        for at, row in enumerate(self.rows):
            found.setdefault(tuple(words[row]), []).append(at)
        rows = self.rows
        return [([rows[at] for at in block], list(heads), whole[block, : len(heads)]) for heads, block in found.items()]

    def pair_matrix(self) -> np.ndarray:
        """The effects of two parts at once, [parts, parts]; on the diagonal those of one."""
        found = np.diag([one.effect for one in self.effects])
        for (first, second), one in self.pairs.items():
            found[first, second] = found[second, first] = one.effect
        return found

    @property
    def strongest(self) -> list[EffectOf]:
        """The effects, the largest first."""
        return sorted(self.effects, key=lambda one: -abs(one.effect) if one.effect == one.effect else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints (docs/schemas/what-if.json)."""
        return {
            "version": 1,
            "sweep": self.sweep,
            "edit": self.edit,
            "metric": self.metric,
            "before": [{"word": word, "probability": share} for word, share in self.before],
            "runs": self.runs,
            "effects": [asdict(one) for one in self.effects],
            "pairs": [
                {"first": first, "second": second, "effect": one.effect, "flips": one.flips, "said": one.said}
                for (first, second), one in self.pairs.items()
            ],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """The effects as a table, with one row for each part, and then for each two."""
        import pandas

        found: pandas.DataFrame = pandas.DataFrame([asdict(one) for one in (*self.effects, *self.pairs.values())])
        return found


def sweep(
    trace: Trace,
    kind: str,
    edit: Edit,
    *,
    step: int | None = None,
    metric: str | None = None,
    pairs: bool = False,
    program: Callable[[], None] | None = None,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Effects:
    """Edit each head, layer, token or feed-forward part of the model of a trace in a bare run of its own.

    Args:
        trace: The run.
        kind: `heads`, `layers`, `tokens` or `mlps`.
        edit: What is done to each. A layer that is set to zero is left out: its input goes on unchanged.
        step: Only this step, or what is below it; of `tokens` the step whose tokens are edited. By default all, and the
            tokens of each layer.
        metric: What is measured, as in `Effects`; by default `label`, or `l2` if the model returns no logits.
        pairs: Whether each two are edited at once as well.
        program: Runs the script that the trace was recorded from, if the trace does not say how its model was loaded.
        advance: Called with the number of runs done, and of all.

    Raises:
        TraceError: There is no such sweep, metric or part, or the model cannot be run again.
    """
    from ..models.trials.runs_again import rerun
    from ..models.trials.sweep_units import units
    from ..models.trials.sweeping import sweep as run_all

    if step is not None and not 0 <= step < len(trace):
        raise TraceError(f"There is no step {step} in {trace.path}: its steps are 0 to {len(trace) - 1}.")
    only = None if step is None else str(trace.column("name")[trace.call_of(step)] or "")
    forward = 0 if step is None else int(trace.column("forward")[step] or 0)
    runs = rerun(trace, program, forward).one_forward
    found = units(runs.models, kind, partial(_tokens, trace, forward), only)
    names = list(dict.fromkeys(one.name for one in found))
    given: Any = nullcontext(lambda name: edit)
    if edit.what == FROM and edit.source is not None and edit.meet is None:
        given = patches(trace, edit.source, edit, names, forward)
    with given as make:
        if edit.what == FROM and kind == "tokens":  # those of which the other run has one at the same place
            found = [one for one in found if one.token in (make(one.name).meet or {one.token: 0})]
        swept = run_all(runs, found, make, kind=kind, metric=metric, pairs=pairs, advance=advance)
    effects = [
        EffectOf(unit.name, str(unit), unit.row, unit.column, unit.word, one.effect, one.flips, one.said)
        for unit, one in zip(swept.units, swept.effects, strict=True)
    ]
    both = {
        (first, second): replace(
            effects[first],
            name=f"{effects[first].name} + {effects[second].name}",
            label=f"{effects[first].label} + {effects[second].label}",
            effect=one.effect,
            flips=one.flips,
            said=one.said,
        )
        for (first, second), one in swept.pairs.items()
    }
    said = str(edit)
    if kind == "layers" and edit.what == ZERO:
        said = "left out"
    return Effects(kind, said, swept.metric, swept.before, effects, both, swept.runs)


def _tokens(trace: Trace, forward: int, name: str) -> list[str]:
    """The tokens of the first text that a module returns something for; their numbers, if they are not known.

    Raises:
        TraceError: The trace has no such step, or it returns nothing for each token.
    """
    steps = [step for step in trace.find(exactly(name), forward=forward) if step.name == name]
    for step in steps[:1]:
        row = next((row for row in step.tensors if row.role == schema.OUTPUT and "float" in row.dtype), None)
        if row is not None and len(row.shape) == 3:
            size = row.shape[1]
            return tokens.along(trace, step.position, size) or [str(at) for at in range(size)]
    raise TraceError(f"{name} returns nothing for each token in this run: name another step for --sweep tokens.")
