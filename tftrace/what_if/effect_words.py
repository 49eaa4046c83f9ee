"""What is said of a sweep, as every face says it."""

from __future__ import annotations

from ..language import later, tr
from ..language.retell import retold
from ..text import visible
from .effects import Effects

_SWEEPS = {"heads": later("heads"), "layers": later("layers"), "tokens": later("tokens"), "mlps": later("mlps")}
_METRICS = {
    "label": later("measured: the change of the probability of the answer"),
    "kl": later("measured: the Kullback-Leibler divergence from the answer without an edit, in nats"),
    "l2": later("measured: the relative l2 difference of the answer"),
}


def sweep_title(found: Effects) -> str:
    """What was done: `zero, for each of 8 heads; 9 runs of the model`."""
    return tr(
        "{edit}, for each of {n} {sweep}; {runs} runs of the model",
        edit=retold(visible(found.edit)),
        n=len(found.effects),
        sweep=tr(_SWEEPS.get(found.sweep, found.sweep)),
        runs=found.runs,
    )


def metric_words(metric: str) -> str:
    """What was measured."""
    if metric in _METRICS:
        return tr(_METRICS[metric])
    return tr("measured: the change of the logit of {word}", word=visible(metric.partition(":")[2]))
