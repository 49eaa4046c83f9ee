"""Where NaN and Inf of a run were made, why, and what they reached: pure functions of a trace, without torch."""

from .origin import CAUSES, Origin, Origins, origins
from .whereabouts import Where

__all__ = ["CAUSES", "Origin", "Origins", "Where", "origins"]
