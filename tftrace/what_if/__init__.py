"""Runs the model of a trace again with something changed, and says what became of the answer."""

from .effect_words import metric_words, sweep_title
from .effects import EffectOf, Effects, sweep
from .trial import Change, Trial, what_if

__all__ = ["Change", "EffectOf", "Effects", "Trial", "metric_words", "sweep", "sweep_title", "what_if"]
